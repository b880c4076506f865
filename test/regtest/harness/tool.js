// build/paychan as a process: its --json lines as events, its exit status, its end by signal.
'use strict';
const path = require('path');
const {Child} = require('./child');

const program = path.resolve(process.env.PAYCHAN || path.join(__dirname, '..', '..', '..', 'build', 'paychan'));

class Tool extends Child {
  /**
   * args     e.g. ['serve', '--listen', '127.0.0.1:0', '--json', ...]
   * options  as Child's; and `under`, a command that runs the program and its arguments
   */
  constructor(args, options) {
    const [command, ...all] = [...(options.under || []), program, ...args];
    super(command, all, options);
    this.json = args.includes('--json');
    this.events = [];      // all of them
    this.next = 0;         // the first that event() has not passed yet
    this.broken = null;    // a line that is no event
  }

  onLine(line) {
    if (!this.json) return;
    let event;
    try { event = JSON.parse(line); } catch (e) { /* below */ }
    if (event && typeof event.event === 'string') this.events.push(event);
    else this.broken = line;
  }

  /**
   * The next event of this name, or that this function accepts; those before it are passed over.
   * An `error` event on the way is an error, unless it is what you wait for.
   */
  event(wanted, ms = 30000) {
    const accepts = typeof wanted === 'function' ? wanted : (event) => event.event === wanted;
    return this.until(() => {
      if (this.broken !== null) throw new Error(`a line that is no JSON event: ${this.broken}\n${this.tail()}`);
      while (this.next < this.events.length) {
        const event = this.events[this.next++];
        if (accepts(event)) return event;
        if (event.event === 'error') throw new Error(`an error before ${wanted}: ${JSON.stringify(event)}\n${this.tail()}`);
      }
      return undefined;
    }, `event ${wanted}`, ms);
  }

  /** As Child's; rejects if a line was no event. */
  async exit(ms) {
    const result = await super.exit(ms);
    await new Promise(setImmediate);  // the last lines of stdout may still be in readline's hands
    if (this.broken !== null) throw new Error(`a line that is no JSON event: ${this.broken}\n${this.tail()}`);
    return result;
  }

  /** All events of this name so far. */
  all(name) { return this.events.filter((event) => event.event === name); }
}

module.exports = {Tool, program};
