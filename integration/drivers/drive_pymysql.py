"""PyMySQL: text protocol, pure Python."""

import ssl

import pymysql
import pymysql.cursors
from pymysql.constants import CLIENT

import endpoint
from operations import Operations


class Adapter:
    name = "pymysql"
    Error = pymysql.MySQLError

    def connect(self, **options):
        context = None
        if endpoint.tls:
            context = ssl.create_default_context(cafile=endpoint.ca) if endpoint.ca else ssl._create_unverified_context()
        given = dict(host=endpoint.host, port=endpoint.port, user=endpoint.user, password=endpoint.password, database=endpoint.database,
                     ssl=context, ssl_disabled=not endpoint.tls, charset="utf8mb4", local_infile=True, max_allowed_packet=64 << 20,
                     client_flag=CLIENT.MULTI_STATEMENTS, connect_timeout=20, read_timeout=60, write_timeout=60)
        return pymysql.connect(**{**given, **options})

    def secure(self, connection):
        return isinstance(connection._sock, ssl.SSLSocket)

    def prepared(self, connection):
        return None  # PyMySQL has no prepared statements

    def multi(self, connection, sql):
        cursor = connection.cursor()
        cursor.execute(sql)
        return self._results(cursor)

    def call(self, connection, procedure, arguments):
        cursor = connection.cursor()
        cursor.callproc(procedure, arguments)
        return self._results(cursor)[:-1]  # the last one is CALL's own OK

    def unbuffered(self, connection):
        return connection.cursor(pymysql.cursors.SSCursor)

    def change_user(self, connection, back=False):
        return False  # PyMySQL cannot

    def reset(self, connection):
        return False  # PyMySQL cannot

    def _results(self, cursor):
        results = []
        while True:
            results.append(list(cursor.fetchall()) if cursor.description else None)
            if not cursor.nextset():
                return results


endpoint.main(Operations(Adapter()).cases())
