// A site that runs, as tills, readers and operators meet it: the terminal's and the verification program's Unix sockets,
// and the payment server.
import { execFile } from 'node:child_process';
import { request } from 'node:http';
import { promisify } from 'node:util';

const PATIENCE_MS = 60_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function ask(options, body) {
  return new Promise((done, failed) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = { ...options.headers, ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) };
    const call = request({ ...options, headers, timeout: PATIENCE_MS }, (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (chunk) => { answer += chunk; }).on('end', () => {
        done({ status: response.statusCode, body: answer === '' ? undefined : JSON.parse(answer) });
      });
    });
    call.on('error', failed).on('timeout', () => call.destroy(new Error('no answer')));
    call.end(text);
  });
}

export class Site {
  #number = 0;
  #press = 20_000;
  #last;

  constructor(facts) {
    Object.assign(this, facts);
  }

  terminal(method, path, body) {
    return ask({ socketPath: `${this.site}/run/terminal.sock`, method, path, host: 'localhost' }, body);
  }

  verifier(method, path, body) {
    return ask({ socketPath: `${this.site}/run/verifier.sock`, method, path, host: 'localhost' }, body);
  }

  call(key, method, path, body) {
    const { hostname, port } = new URL(this.server);
    return ask({ hostname, port, method, path, headers: { authorization: `Bearer ${this[key]}` } }, body);
  }

  async must(answering, status) {
    const { status: found, body } = await answering;
    if (found !== status) throw new Error(`${found} instead of ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  /** The address that opens the payer's page once. */
  async key() {
    const { stdout } = await promisify(execFile)(this.program, ['terminal', 'kiosk', '--site', this.site]);
    return stdout.trim();
  }

  /** The till asks for a payer. */
  async ask(request = {}) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const body = { request_id: `browser-${process.pid}-${(this.#number += 1)}`, modality: 'finger', ...request };
      const { status, body: answer } = await this.terminal('POST', '/v1/verifications', body);
      if (status === 202) return (this.#last = answer.id);
      if (Date.now() > deadline) throw new Error(`${status}: ${JSON.stringify(answer)}`);
      await pause(50);
    }
  }

  /** Nobody is there any more, whatever became of the journey before. */
  async clear() {
    if (this.#last === undefined) return;
    await this.terminal('POST', `/v1/verifications/${this.#last}/cancel`, { reason: 'cashier' });
    await this.done(this.#last);
  }

  session(id) {
    return this.must(this.terminal('GET', `/v1/verifications/${id}`), 200);
  }

  /** The session, as soon as it is what is wanted. */
  async until(id, wanted) {
    let after = 0;
    const deadline = Date.now() + PATIENCE_MS;
    while (Date.now() < deadline) {
      const found = await this.must(this.terminal('GET', `/v1/verifications/${id}?after=${after}&wait_ms=1000`), 200);
      if (wanted(found)) return found;
      after = found.sequence;
    }
    throw new Error(`it did not come to that: ${JSON.stringify(await this.session(id))}`);
  }

  done(id) {
    return this.until(id, ({ state }) => state === 'done');
  }

  /** A synthetic finger touches the reader until the session is over. */
  async touch(id, finger = 1) {
    for (;;) {
      const { state } = await this.until(id, ({ state }) => state !== 'verifying');
      if (state === 'done') return this.session(id);
      const { status } = await this.verifier('POST', '/v1/presses', { finger, press: (this.#press += 1) });
      if (status >= 400) await pause(20);
    }
  }

  /** The till has the code and charges it. */
  async charge(id, minor) {
    const body = await this.must(this.terminal('POST', `/v1/verifications/${id}/handover`, { register: 'return' }), 200);
    const order = { order_ref: `browser-${process.pid}-${(this.#number += 1)}`, amount: { minor, currency: 'EUR' }, code: body.handover.digits };
    return this.call('merchant', 'POST', '/v1/payments', order);
  }
}
