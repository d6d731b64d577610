# Sourced by the image's entrypoint on the first start of a primary, whose docker_process_sql runs SQL as root.
# What is done here is in the binary log, so its replicas get it too.

# The text as a string literal of SQL.
literal() {
	local text=${1//\\/\\\\}
	printf "'%s'" "${text//\'/\'\'}"
}

docker_process_sql <<-SQL
	-- What its replicas log in as.
	CREATE USER 'repl'@'%' IDENTIFIED BY $(literal "${REPLICATION_PASSWORD:?}");
	GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%';

	-- Tidegate's probes: SHOW REPLICA STATUS needs this one right.
	CREATE USER 'tidegate'@'%' IDENTIFIED BY $(literal "${TIDEGATE_MONITOR_PASSWORD:?}");
	GRANT REPLICATION CLIENT ON *.* TO 'tidegate'@'%';
	-- At the home it keeps there which instance makes which ids, and the journal of definitions.
	GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON tidegate.* TO 'tidegate'@'%';

	-- An application to try it with.
	CREATE USER 'app'@'%' IDENTIFIED BY $(literal "${APP_PASSWORD:?}");
	CREATE DATABASE shop;
	GRANT ALL ON shop.* TO 'app'@'%';
SQL
