// mysql2 (Node): text and binary protocol. Environment: see endpoint.py. NODE_PATH names the folder that has mysql2.
'use strict';
const assert = require('assert/strict');
const crypto = require('crypto');
const fs = require('fs');
const { Readable } = require('stream');
const nodeTls = require('tls');
const mysql = require('mysql2/promise');

const env = process.env;
const tls = env.TIDEGATE_TLS === '1';
const table = `d_mysql2_${process.pid}`;
const options = {
  host: env.TIDEGATE_HOST || '127.0.0.1', port: Number(env.TIDEGATE_PORT), user: env.TIDEGATE_USER || 'app',
  password: env.TIDEGATE_PASSWORD ?? 'app-pw', database: 'test', charset: 'utf8mb4', multipleStatements: true, connectTimeout: 20000,
  dateStrings: true, supportBigNumbers: true, compress: (env.TIDEGATE_COMPRESSION ?? 'none') !== 'none',
  ...(tls && { ssl: env.TIDEGATE_CA ? { ca: fs.readFileSync(env.TIDEGATE_CA), verifyIdentity: false } : { rejectUnauthorized: false } }),
};
const row = {
  ti: -128, bu: '18446744073709551615', de: '-12345678901234567890.0123456789', do: 1.5e300, da: '1000-01-01',
  ts: '2038-01-19 03:14:07.999999', yr: 2155, tx: "naïve 数据 🌊 \\ ' \" % \0 end", bl: Buffer.from([...Array(256).keys()]), en: 'b', nu: null,
};
const names = Object.keys(row).join(', ');
let connection;

let secured = 0; // mysql2 does not tell whether its socket became a TLS socket
const connectTls = nodeTls.connect;
nodeTls.connect = (...given) => connectTls(...given).once('secureConnect', () => { secured += 1; });

const fails = (promise, errno) => assert.rejects(promise, (error) => { assert.equal(error.errno, errno, error.message); return true; });
const rows = async (sql, values) => (await connection.query({ sql, rowsAsArray: true }, values))[0];
const prepared = async (sql, values) => (await connection.execute({ sql, rowsAsArray: true }, values))[0];

async function rowSurvives(run) {
  await connection.beginTransaction();
  await run(`INSERT INTO ${table} (${names}) VALUES (${Object.keys(row).map(() => '?').join(', ')})`, Object.values(row));
  const [found] = await run(`SELECT ${names} FROM ${table} WHERE ti = ?`, [-128]);
  Object.entries(row).forEach(([name, value], i) => assert.deepEqual(found[i], value, `column ${name}`));
  await connection.rollback();
}

const cases = {
  async connect() {
    connection = await mysql.createConnection(options);
    assert.deepEqual(await rows('SELECT 1'), [[1]]);
    assert.equal(secured, tls ? 1 : 0, 'the connection is encrypted');
    await connection.query(`CREATE TABLE ${table} (id INT PRIMARY KEY AUTO_INCREMENT, ti TINYINT, bu BIGINT UNSIGNED, de DECIMAL(30,10), do DOUBLE,
      da DATE, ts DATETIME(6), yr YEAR, tx TEXT, bl LONGBLOB, en ENUM('a','b'), nu INT NULL, js JSON) CHARACTER SET utf8mb4`);
  },
  columnTypesText: () => rowSurvives(rows),
  columnTypesPrepared: () => rowSurvives(prepared),
  async json() {
    await connection.beginTransaction();
    await connection.execute(`INSERT INTO ${table} (js) VALUES (?)`, ['{"a": [1, null, "é"]}']);
    const [[document]] = await rows(`SELECT js FROM ${table}`);
    assert.deepEqual(typeof document === 'string' ? JSON.parse(document) : document, { a: [1, null, 'é'] });
    await connection.rollback();
  },
  async preparedAgain() {
    const statement = await connection.prepare('SELECT CAST(? AS SIGNED) + 1, ?');
    for (const number of [1, 2, null]) {
      const [[found]] = await statement.execute([number, 'é']);
      assert.deepEqual(Object.values(found).map(String), [String(number === null ? null : number + 1), 'é']);
    }
    await statement.close();
  },
  async transactions() {
    await connection.beginTransaction();
    const [result] = await connection.query(`INSERT INTO ${table} (id, nu) VALUES (5000, 1)`);
    assert.equal(result.insertId, 5000);
    assert.deepEqual(await rows(`SELECT nu FROM ${table}`), [[1]]);
    await connection.rollback();
    await connection.beginTransaction();
    assert.deepEqual(await rows(`SELECT nu FROM ${table}`), [], 'after ROLLBACK');
    await connection.query(`INSERT INTO ${table} (nu) VALUES (2), (3)`);
    await connection.commit();
    await connection.beginTransaction();
    assert.deepEqual(await rows(`SELECT nu FROM ${table} ORDER BY nu`), [[2], [3]], 'after COMMIT');
    await connection.rollback();
  },
  async readsOutsideTransactions() {
    const deadline = Date.now() + 20000;
    for (let found; found !== 2;) { // a replica gets the rows a little later
      try { [[found]] = await rows(`SELECT COUNT(*) FROM ${table}`); } catch (error) { found = error; }
      if (found !== 2 && Date.now() > deadline) throw new Error(`still ${found} rows, not 2`);
    }
  },
  async manyRows() {
    await connection.beginTransaction();
    const [result] = await connection.query(`INSERT INTO ${table} (ti, tx) VALUES ?`, [[...Array(1000).keys()].map((n) => [7, `row ${n}`])]);
    assert.equal(result.affectedRows, 1000);
    for (let n = 0; n < 100; n += 1) await connection.execute(`INSERT INTO ${table} (ti, tx) VALUES (?, ?)`, [7, `prepared ${n}`]);
    assert.deepEqual(await rows(`SELECT COUNT(*), COUNT(DISTINCT tx) FROM ${table} WHERE ti = 7`), [[1100, 1100]]);
    let streamed = 0;
    for await (const _ of connection.connection.query(`SELECT tx FROM ${table} WHERE ti = 7`).stream()) streamed += 1;
    assert.equal(streamed, 1100, 'rows of a stream');
    await connection.rollback();
  },
  async multiStatements() {
    const [results] = await connection.query("SELECT 1 AS a; DO 0; SELECT 'two' AS b, 2 AS c");
    assert.deepEqual([results[0], results[2]].map((r) => r.map((x) => ({ ...x }))), [[{ a: 1 }], [{ b: 'two', c: 2 }]]);
    assert.equal(results[1].affectedRows, 0);
  },
  async call() {
    await connection.query(`CREATE PROCEDURE ${table}_p(IN a INT) BEGIN SELECT a AS x; SELECT a + 1 AS y; END`);
    for (const run of ['query', 'execute']) {
      const [results] = await connection[run](`CALL ${table}_p(?)`, [41]);
      assert.deepEqual(results.slice(0, 2).map((r) => Number(Object.values(r[0])[0])), [41, 42], run);
    }
    await connection.query(`DROP PROCEDURE ${table}_p`);
  },
  async localInfile() {
    const lines = [...Array(5000).keys()].map((n) => `8,line ${n}\n`).join('');
    await connection.beginTransaction();
    await connection.query({ sql: `LOAD DATA LOCAL INFILE 'data' INTO TABLE ${table} FIELDS TERMINATED BY ',' (ti, tx)`,
      infileStreamFactory: () => Readable.from([Buffer.from(lines)]) });
    assert.deepEqual(await rows(`SELECT COUNT(*), MAX(tx) FROM ${table} WHERE ti = 8`), [[5000, 'line 999']]);
    await connection.rollback();
  },
  async errors() {
    await connection.beginTransaction();
    await fails(connection.query(`INSERT INTO ${table} (id) VALUES (1), (1)`), 1062);
    await fails(connection.query('SELEC 1'), 1064);
    await fails(connection.query('SELECT * FROM no_such_table'), 1146);
    await fails(connection.prepare('SELECT * FROM no_such_table'), 1146);
    assert.deepEqual(await rows('SELECT 1'), [[1]]);
    await connection.rollback();
  },
  async warnings() {
    await connection.beginTransaction();
    await rows("SELECT CAST('12x' AS SIGNED)");
    assert.deepEqual((await rows('SHOW WARNINGS'))[0].slice(0, 2), ['Warning', 1292]);
    await connection.rollback();
  },
  async largeBlob() {
    const blob = Buffer.concat(Array(20).fill(crypto.randomBytes(1 << 20)));
    for (const run of [rows, prepared]) {
      await connection.beginTransaction();
      await run(`INSERT INTO ${table} (ti, bl) VALUES (9, ?)`, [blob]);
      const [[found]] = await run(`SELECT bl FROM ${table} WHERE ti = 9`, []);
      assert.ok(blob.equals(found), `a 20 MB BLOB comes back as it went (${run.name})`);
      await connection.rollback();
    }
  },
  async ping() { await connection.ping(); },
  async changeUser() {
    await connection.changeUser({ user: 'admin', password: 'admin-pw', database: 'shop' });
    assert.deepEqual(await rows("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), DATABASE()"), [['admin', 'shop']]);
    await connection.changeUser({ user: options.user, password: options.password, database: 'test' });
  },
  async wrongPassword() { await fails(mysql.createConnection({ ...options, password: 'wrong' }), 1045); },
  async cleanUp() {
    await connection.query(`DROP TABLE ${table}`);
    await connection.end();
  },
};

(async () => {
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
    } catch (error) {
      console.error(`FAILED ${name}: ${error.stack}`);
      process.exit(1);
    }
  }
  console.log(`${Object.keys(cases).length} cases passed`);
})();
