// Journeys at a terminal with a camera. The camera is a file: a photo that moves a little, as a person does.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { start } from './browser.mjs';
import { Kiosk, tillBeside } from './kiosk.mjs';

/** Eve, whom the demo enrols by the face of the first person of the photos that can be used. */
const EVE = { last4: '0123' };

/** Photos of each person that the demo does not enrol begin here. */
const UNUSED_FROM = 3;

/** Pictures of one round of the camera's file: a second and a half. No two are alike, or they are taken for a picture. */
const PICTURES = 47;

/** A camera's file: JPEGs one after the other, which chromium shows over and over. */
async function film(browser, photo, file) {
  const page = await browser.newPage();
  const url = `data:image/jpeg;base64,${readFileSync(photo).toString('base64')}`;
  const frames = await page.evaluate(async ({ url, pictures }) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [1280, 720];
    const context = canvas.getContext('2d');
    const side = 720;
    return Array.from({ length: pictures }, (_, number) => {
      const sway = 8 * Math.sin((2 * Math.PI * number) / pictures);
      context.filter = 'none';
      context.fillStyle = '#6d6f72';
      context.fillRect(0, 0, 1280, 720);
      context.filter = `brightness(${0.97 + (0.06 * number) / pictures})`;
      context.drawImage(image, 280 + sway, sway / 2, (side * image.width) / image.height, side);
      return canvas.toDataURL('image/jpeg', 0.92).split(',')[1];
    });
  }, { url, pictures: PICTURES });
  writeFileSync(file, Buffer.concat(frames.map((frame) => Buffer.from(frame, 'base64'))));
  await page.close();
  return file;
}

/** Remembers every track that the page gets, so that it can be seen that they end. */
async function watchTracks(kiosk) {
  await kiosk.page.addInitScript(() => {
    globalThis.tracks = [];
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = await ask(wanted);
      globalThis.tracks.push(...stream.getTracks());
      return stream;
    };
  });
  await kiosk.page.reload();
  await kiosk.sees('Pay here');
}

const tracks = (kiosk) => kiosk.page.evaluate(() => globalThis.tracks.map(({ readyState }) => readyState));

/** With colours on the screen. The camera that is a file cannot reflect them, as a recording cannot: it is an attack. */
export async function colours(site) {
  const maker = await start();
  const camera = await film(maker, site.people[0][0], `${site.site}/photos/colours.mjpeg`);
  await maker.close();
  return {
    'a recording does not answer the colours, and its payer is asked for number and pin': {
      browser: { camera },
      run: async (browser) => {
        const kiosk = await Kiosk.open(site, browser);
        const session = await site.ask({ modality: 'face', identifier: { kind: 'phone_last4', value: EVE.last4 } });
        await kiosk.page.getByText('Keep looking').waitFor();
        await kiosk.photograph('colours');
        await kiosk.sees('Number and PIN');
        await site.must(site.terminal('POST', `/v1/verifications/${session}/cancel`, { reason: 'cashier' }), 200);
        const { body } = await site.call('operator', 'GET', '/v1/attempts?limit=1');
        assert.equal(body.data[0].reason, 'attack');
        await kiosk.close();
      },
    },
  };
}

export async function face(site) {
  const maker = await start();
  const films = [];
  for (const [person, photos] of site.people.entries()) {
    for (const [number, photo] of photos.slice(UNUSED_FROM).entries()) {
      films.push(await film(maker, photo, `${site.site}/photos/${person}-${number}.mjpeg`));
    }
  }
  await maker.close();

  const payByFace = async (camera) => {
    const browser = await start({ camera });
    try {
      const kiosk = await Kiosk.open(site, browser);
      await watchTracks(kiosk);
      const sent = [];
      kiosk.page.on('request', (request) => {
        if (request.headers()['content-type'] === 'image/jpeg') sent.push(new URL(request.url()).origin);
      });
      assert.deepEqual(await tracks(kiosk), [], 'the camera is off while nobody pays');
      const session = await site.ask({ modality: 'face' });
      await kiosk.sees('Who is paying?');
      await kiosk.type(EVE.last4);
      await kiosk.sees('Look into the camera');
      await kiosk.photograph('align');
      const seen = await site.until(session, ({ state }) => state === 'done' || state === 'awaiting_pin');
      if (seen.outcome !== 'passed') {
        await site.must(site.terminal('POST', `/v1/verifications/${session}/cancel`, { reason: 'cashier' }), 200);
        return false;
      }
      await kiosk.sees('Thank you, E***');
      assert.ok(sent.length > 0);
      const verifier = readFileSync(`${site.site}/run/verifier.url`, 'utf8').trim();
      assert.deepEqual([...new Set(sent)], [verifier], 'pictures go to the verification program and nowhere else');
      await kiosk.page.waitForFunction(() => globalThis.tracks.every(({ readyState }) => readyState === 'ended'));
      assert.equal((await site.charge(session, 120)).status, 201);
      await kiosk.sees('Paid');
      await kiosk.close();
      return true;
    } finally {
      await browser.close();
    }
  };

  /** Nobody but cashier and payer touches anything. */
  const payBesideTheTill = async (camera) => {
    const browser = await start({ camera });
    try {
      const kiosk = await Kiosk.open(site, browser);
      const till = await tillBeside(site, browser);
      await till.keyboard.type('420');
      await till.keyboard.press('Enter');
      await kiosk.sees('Who is paying?');
      await kiosk.type(EVE.last4);
      // Whichever comes first; the other one never comes.
      const paid = await Promise.race([
        till.locator('#word', { hasText: /^PAID$/ }).waitFor().then(() => true),
        kiosk.sees('Number and PIN').then(() => false),
      ].map((comes) => comes.catch(() => false)));
      if (!paid) return false;
      await till.screenshot({ path: `${site.pictures}/till-beside.png` });
      await kiosk.sees('Paid');
      await kiosk.page.getByText('€4.20').waitFor();
      await kiosk.close();
      return true;
    } finally {
      await browser.close();
    }
  };

  return {
    'a cashier types the amount at the till, and the payer pays by face beside it': {
      run: async () => {
        for (const camera of films) if (await payBesideTheTill(camera)) return;
        throw new Error('no photo of Eve passed');
      },
    },

    'a payer pays by face': {
      run: async () => {
        // One photo in ten is refused, and the first people may not be Eve.
        for (const camera of films) if (await payByFace(camera)) return;
        throw new Error('no photo of Eve passed');
      },
    },

    'a camera that may not be used leaves number and pin': {
      browser: { permission: false },
      run: async (browser) => {
        const kiosk = await Kiosk.open(site, browser);
        const session = await site.ask({ modality: 'face', identifier: { kind: 'phone_last4', value: EVE.last4 } });
        await kiosk.sees('The camera may not be used');
        await kiosk.isAccessible();
        await kiosk.photograph('camera-denied');
        await kiosk.press('Use number and PIN');
        await kiosk.sees('Number and PIN');
        await kiosk.press('Cancel');
        await kiosk.sees('Cancelled');
        assert.equal((await site.session(session)).outcome, 'canceled');
        await kiosk.close();
      },
    },

    'a camera that is lost can be opened again': {
      browser: { camera: films[0] },
      run: async (browser) => {
        const kiosk = await Kiosk.open(site, browser);
        await watchTracks(kiosk);
        // Digits of somebody else, so that the face before the camera does not end it too soon.
        const session = await site.ask({ modality: 'face' });
        await kiosk.sees('Who is paying?');
        await kiosk.page.waitForFunction(() => globalThis.tracks.some(({ readyState }) => readyState === 'live'));
        await kiosk.page.evaluate(() => globalThis.tracks.forEach((track) => { track.stop(); track.dispatchEvent(new Event('ended')); }));
        await kiosk.type(EVE.last4);
        await kiosk.sees('The camera was lost');
        await kiosk.press('Try again');
        await kiosk.sees('Look into the camera');
        await site.must(site.terminal('POST', `/v1/verifications/${session}/cancel`, { reason: 'cashier' }), 200);
        await kiosk.sees('Cancelled');
        await kiosk.page.waitForFunction(() => globalThis.tracks.every(({ readyState }) => readyState === 'ended'));
        await kiosk.close();
      },
    },

    'a page of another origin cannot send frames or read what is shown': {
      run: async (browser) => {
        const kiosk = await Kiosk.open(site, browser);
        const run = (name) => readFileSync(`${site.site}/run/${name}`, 'utf8').trim();
        const { status, body } = await site.verifier('GET', '/v1/verifier');
        assert.equal(status, 200);
        assert.equal(body.page.url, run('verifier.url'));
        for (const [origin, expected] of [[new URL(kiosk.page.url()).origin, 204], ['http://127.0.0.1:1', 403], ['null', 403]]) {
          const headers = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' };
          const answer = await fetch(`${run('verifier.url')}/v1/frames?at_ms=0`, { method: 'OPTIONS', headers });
          assert.equal(answer.status, expected, origin);
        }
        await kiosk.close();
      },
    },
  };
}
