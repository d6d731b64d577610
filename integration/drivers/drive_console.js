// Tidegate's SQL console with mysql2 (Node). The argument is JSON: where, whose, and a session that has a pin.
'use strict';
const assert = require('assert/strict');
const mysql = require('mysql2/promise');

const { session, tls, ...account } = JSON.parse(process.argv[2]);

async function main() {
  const options = { ...account, database: 'tidegate', connectTimeout: 20000, ...(tls && { ssl: { rejectUnauthorized: false } }) };
  const connection = await mysql.createConnection(options);
  const [[pin]] = await connection.query('SHOW PINS WHERE Id = ?', [session]);
  assert.deepEqual([pin.Id, pin.Reason, pin.Digest_text], [session, 'user lock', 'SELECT `GET_LOCK` (...)']);
  assert.equal(typeof pin.Seconds, 'number');
  const [pools] = await connection.query('SELECT server, open FROM pools ORDER BY server');
  assert.ok(pools.length > 0 && pools.every((pool) => Number.isInteger(pool.open)));
  await connection.ping();
  await assert.rejects(connection.execute('SHOW PINS'), { errno: 1295 });
  await assert.rejects(connection.query('SHOW NONSENSE'), { errno: 1235 });
  await connection.end();
}

main().catch((error) => { console.error(error); process.exit(1); });
