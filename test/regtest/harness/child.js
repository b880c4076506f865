// A child process that is waited for with a limit, and that never outlives the run.
'use strict';
const {spawn} = require('child_process');
const readline = require('readline');

const running = new Set();
// Whatever way the run ends, by an exception too: end what it started, by pid.
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));

class Child {
  /**
   * command, args  the program and its arguments
   * options        {cwd, env, uid, gid}; env is added to ours
   */
  constructor(command, args, options = {}) {
    this.name = [command, ...args].join(' ');
    this.lines = [];       // of stdout
    this.stderr = '';
    this.waiting = new Set();
    this.process = spawn(command, args, {
      cwd: options.cwd, env: {...process.env, ...options.env}, uid: options.uid, gid: options.gid,
      stdio: ['ignore', 'pipe', 'pipe']});
    running.add(this.process);
    this.result = null;    // {code, signal} once it has ended and its output has been read
    this.ended = new Promise((resolve) => {
      this.process.on('error', (e) => { this.stderr += e.message; this.finish({code: null, signal: e.code}, resolve); });
      this.process.on('close', (code, signal) => this.finish({code, signal}, resolve));
    });
    readline.createInterface({input: this.process.stdout}).on('line', (line) => { this.lines.push(line); this.onLine(line); this.wake(); });
    this.process.stderr.on('data', (data) => { this.stderr = (this.stderr + data).slice(-100000); this.wake(); });
  }

  get pid() { return this.process.pid; }

  onLine() {}

  finish(result, resolve) {
    running.delete(this.process);
    if (this.result) return;
    this.result = result;
    resolve(result);
    // The last lines of stdout may still be in readline's hands.
    setImmediate(() => this.wake());
  }

  wake() { for (const check of [...this.waiting]) check(); }

  /**
   * Resolves with what `look` returns as soon as that is not undefined; `look` is asked at every piece of output.
   * Rejects after `ms`, or when the process ends without it.
   */
  until(look, what, ms) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => { clearTimeout(timer); this.waiting.delete(check); settle(value); };
      const check = () => {
        let found;
        try { found = look(); } catch (e) { return done(reject, e); }
        if (found !== undefined) done(resolve, found);
        else if (this.result) done(reject, new Error(`ended (${this.outcome()}) before ${what}\n${this.tail()}`));
      };
      const timer = setTimeout(() => done(reject, new Error(`no ${what} within ${ms} ms\n${this.tail()}`)), ms);
      this.waiting.add(check);
      check();
    });
  }

  /** Resolves with {code, signal} when the process has ended by itself. */
  async exit(ms = 30000) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`still running after ${ms} ms\n${this.tail()}`)), ms);
    });
    try { return await Promise.race([this.ended, late]); } finally { clearTimeout(timer); }
  }

  /** Sends the signal and waits for the end; SIGKILL if that takes longer than `ms`.  Resolves with {code, signal}. */
  async kill(signal = 'SIGTERM', ms = 10000) {
    if (this.result) return this.result;
    this.process.kill(signal);
    const timer = setTimeout(() => this.process.kill('SIGKILL'), ms);
    try { return await this.ended; } finally { clearTimeout(timer); }
  }

  outcome() { return this.result ? `code ${this.result.code}, signal ${this.result.signal}` : 'running'; }

  /** The end of its output, for a message. */
  tail() {
    return [`  ${this.name}: ${this.outcome()}`, ...this.lines.slice(-15).map((l) => '    ' + l.slice(0, 400)),
      ...this.stderr.trimEnd().split('\n').slice(-15).map((l) => '    stderr: ' + l.slice(0, 400))].join('\n');
  }
}

module.exports = {Child};
