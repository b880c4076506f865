#!/usr/bin/env node
// Runs the scenarios against a real Bitcoin node: node run.js [--keep] [NAME...]
//     NAME     only the scenarios whose name contains one of these, or of the kinds (files of scenarios/) that are named so
//     --keep   leave the scenarios' folders in place, and say where they are
// The program is $PAYCHAN, or build/paychan.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');
const assert = require('assert').strict;
const {Node} = require('./harness/node');
const {Tool} = require('./harness/tool');
const {freePort} = require('./harness/ports');

const limit = 180;  // [s] per scenario, unless it exports another `limit`

/** What a scenario is given.  Whatever it starts ends with it. */
class Context {
  constructor(folder) {
    this.folder = folder;  // of its own, empty
    this.children = [];
    this.assert = assert;
    this.freePort = freePort;
  }

  /** Starts a node; see harness/node.js. */
  async node(options) {
    const node = await Node.start(options);
    this.children.push(node.child);
    return node;
  }

  /** Whatever has kill() and tail(): it ends with the scenario. */
  own(child) {
    this.children.push(child);
    return child;
  }

  /** Starts build/paychan; see harness/tool.js. */
  tool(...args) {
    const tool = new Tool(args.map(String), {cwd: this.folder});
    this.children.push(tool);
    return tool;
  }

  /** Starts build/paychan and waits for its end, with exit status 0 unless `code` says otherwise. */
  async run(args, {code = 0, ms = 60000} = {}) {
    const tool = this.tool(...args);
    const result = await tool.exit(ms);
    assert.equal(result.code, code, `exit status ${result.code} (${result.signal}), not ${code}\n${tool.tail()}`);
    return tool;
  }

  /** A path in the scenario's folder. */
  path(name) { return path.join(this.folder, name); }

  /** Asks until `look` returns something true; rejects after ms. */
  async eventually(what, look, ms = 30000) {
    for (const end = Date.now() + ms; ;) {
      const found = await look();
      if (found) return found;
      if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function runOne(scenario, keep) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'paychan_regtest_'));
  const context = new Context(folder);
  const seconds = scenario.limit || limit;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000);
  });
  try {
    await Promise.race([scenario.run(context), late]);
    return null;
  } catch (error) {
    return [error.stack, 'Its processes:', ...context.children.map((child) => child.tail())].join('\n');
  } finally {
    clearTimeout(timer);
    for (const child of context.children) await child.kill('SIGKILL');
    if (keep) console.log(`    kept: ${folder}`);
    else fs.rmSync(folder, {recursive: true, force: true});
  }
}

async function main() {
  const args = process.argv.slice(2);
  const unknown = args.find((a) => a.startsWith('--') && a !== '--keep');
  if (unknown) {
    console.error(`usage: node run.js [--keep] [NAME...]; the first lines of ${__filename} say more`);
    process.exit(unknown === '--help' ? 0 : 2);
  }
  const keep = args.includes('--keep');
  const names = args.filter((a) => !a.startsWith('--'));
  const folder = path.join(__dirname, 'scenarios');
  const kinds = new Map();  // and what each is about: the first line of its file
  const scenarios = fs.readdirSync(folder).filter((f) => f.endsWith('.js')).sort().map((f) => {
    const kind = path.basename(f, '.js');
    kinds.set(kind, {about: fs.readFileSync(path.join(folder, f), 'utf8').split('\n')[0].replace(/^\/\/ /, ''), passed: 0, of: 0});
    return [require(path.join(folder, f))].flat().map((s) => ({...s, kind}));
  }).flat().filter((s) => names.length === 0 || names.some((n) => n === s.kind || s.name.includes(n)));
  if (scenarios.length === 0) {
    console.error(`no scenario is named like ${names.join(', ')}`);
    process.exit(2);
  }

  let passed = 0, failed = 0;
  for (const [i, scenario] of scenarios.entries()) {
    const kind = kinds.get(scenario.kind);
    kind.of += 1;
    const start = Date.now();
    const problem = await runOne(scenario, keep);
    const time = ((Date.now() - start) / 1000).toFixed(1);
    console.log(`[${i + 1}/${scenarios.length}] ${problem ? 'not ok' : 'ok'} - ${scenario.kind}: ${scenario.name} (${time} s)`);
    if (problem) {
      failed += 1;
      console.log(problem.split('\n').map((l) => '    ' + l).join('\n'));
    } else {
      passed += 1;
      kind.passed += 1;
    }
  }
  for (const [name, k] of kinds)
    if (k.of > 0) console.log(`${name.padEnd(13)} ${`${k.passed} of ${k.of}`.padEnd(9)} ${k.about}`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

main().catch((e) => { console.error(e.stack); process.exit(2); });
