# Sourced by the image's entrypoint on the first start of a replica, whose docker_process_sql runs SQL as root.
# Replication begins by itself when the entrypoint then starts the server for good.

# The text as a string literal of SQL.
literal() {
	local text=${1//\\/\\\\}
	printf "'%s'" "${text//\'/\'\'}"
}

docker_process_sql <<-SQL
	-- The entrypoint's own statements have GTIDs that the primary does not know: forget them.
	RESET BINARY LOGS AND GTIDS;
	CHANGE REPLICATION SOURCE TO
	  SOURCE_HOST = $(literal "${SOURCE_HOST:?}"),
	  SOURCE_USER = 'repl',
	  SOURCE_PASSWORD = $(literal "${REPLICATION_PASSWORD:?}"),
	  SOURCE_AUTO_POSITION = 1,
	  SOURCE_CONNECT_RETRY = 2,
	  SOURCE_RETRY_COUNT = 0, -- without end: the primary may be away for long
	  GET_SOURCE_PUBLIC_KEY = 1;
	-- Kept over restarts; the replication threads write all the same.
	SET PERSIST super_read_only = ON;
SQL
