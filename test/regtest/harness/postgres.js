// Debian's PostgreSQL in a temporary folder, on 127.0.0.1 and a free port.
'use strict';
const {execFileSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const {Child} = require('./child');
const {freePort} = require('./ports');

const versions = '/usr/lib/postgresql';
const secret = 'sEcret%20word';  // of the user who may not come in by trust: no output may hold it

/** The folder of initdb and postgres.  They refuse to run as root, and become `postgres` then. */
function programs() {
  const found = fs.existsSync(versions) && fs.readdirSync(versions).map((v) => path.join(versions, v, 'bin'))
    .filter((bin) => fs.existsSync(path.join(bin, 'initdb'))).sort().pop();
  if (!found) throw new Error('there is no initdb: is Debian\'s package postgresql there?');
  return found;
}

function user() {
  if (process.getuid() !== 0) return {};
  const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres'])));
  return {uid, gid};
}

class Postgres {
  static async start() {
    const db = new Postgres();
    db.bin = programs();
    db.user = user();
    db.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'paychan_pg_'));
    if (db.user.uid !== undefined) fs.chownSync(db.folder, db.user.uid, db.user.gid);
    db.port = await freePort();
    db.options = {cwd: db.folder, ...db.user, env: {LC_ALL: 'C'}};
    try {
      execFileSync(path.join(db.bin, 'initdb'), ['-D', path.join(db.folder, 'data'), '-U', 'paychan', '-A', 'trust', '-N', '-E', 'UTF8',
        '--no-locale', '--no-instructions'], {...db.options, env: {...process.env, LC_ALL: 'C'}, stdio: 'pipe'});
      await db.resume();
    } catch (e) {
      fs.rmSync(db.folder, {recursive: true, force: true});
      throw e;
    }
    return db;
  }

  /** For `--store`. */
  get store() { return `postgres:host=127.0.0.1 port=${this.port} user=paychan dbname=postgres password=${secret}`; }

  /** Starts it, on the same port again after a stop. */
  async resume() {
    this.child = new Child(path.join(this.bin, 'postgres'), ['-D', path.join(this.folder, 'data'), '-k', this.folder, '-p', this.port,
      '-c', 'listen_addresses=127.0.0.1', '-c', 'max_connections=30', '-c', 'shared_buffers=8MB'].map(String), this.options);
    await this.child.until(() => /ready to accept connections/.test(this.child.stderr) || undefined, 'a database', 30000);
  }

  /** As a crash does (pg_ctl stop -m immediate): what was committed stays. */
  async stop() { await this.child.kill('SIGQUIT'); }

  /** What SQL answers, as text: rows of fields with | between them. */
  run(sql) {
    return execFileSync(path.join(this.bin, 'psql'), ['-h', '127.0.0.1', '-p', String(this.port), '-U', 'paychan', '-d', 'postgres', '-At',
      '-v', 'ON_ERROR_STOP=1', '-c', sql], {env: {...process.env, LC_ALL: 'C'}}).toString().trim();
  }

  // Of a scenario's children:
  tail() { return this.child.tail(); }
  async kill() {
    await this.stop();
    fs.rmSync(this.folder, {recursive: true, force: true});
  }
}

module.exports = {Postgres, secret};
