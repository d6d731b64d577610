"""mysql-connector-python, its pure Python implementation: text and binary protocol."""

import mysql.connector

import endpoint
from operations import Operations


class Adapter:
    name = "connector"
    Error = mysql.connector.Error
    unreadable_prepared = {"yr"}  # its parser of binary rows does not know YEAR

    def connect(self, **options):
        given = dict(host=endpoint.host, port=endpoint.port, user=endpoint.user, password=endpoint.password, database=endpoint.database,
                     ssl_disabled=not endpoint.tls, allow_local_infile=True, charset="utf8mb4", use_pure=True, connection_timeout=60,
                     compress=endpoint.compression != "none")
        if endpoint.dialect == "mariadb":
            given["collation"] = "utf8mb4_general_ci"  # the default one is MySQL's
        if endpoint.tls and endpoint.ca:
            given.update(ssl_ca=endpoint.ca, ssl_verify_cert=True)
        return mysql.connector.connect(**{**given, **options})

    def secure(self, connection):
        return hasattr(connection._socket.sock, "cipher")

    def prepared(self, connection):
        return connection.cursor(prepared=True)

    def multi(self, connection, sql):
        return [list(rows["rows"]) if rows else None for rows in self._query_iter(connection, sql)]

    def _query_iter(self, connection, sql):
        for result in connection.cmd_query_iter(sql):
            yield {"rows": connection.get_rows()[0]} if "columns" in result else None

    def call(self, connection, procedure, arguments):
        cursor = connection.cursor()
        cursor.callproc(procedure, arguments)
        return [list(result.fetchall()) for result in cursor.stored_results()]

    def unbuffered(self, connection):
        return connection.cursor(buffered=False)

    def change_user(self, connection, back=False):
        if endpoint.compression != "none":
            return None  # not with compression, it says
        if back:
            connection.cmd_change_user(endpoint.user, endpoint.password, endpoint.database)
        else:
            connection.cmd_change_user("admin", "admin-pw", "shop")
        return True

    def reset(self, connection):
        connection.cmd_reset_connection()
        return True


endpoint.main(Operations(Adapter()).cases())
