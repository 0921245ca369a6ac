// The camera: on only while the verification program wants it, and its frames go there and nowhere else. The picture that
// the payer sees is mirrored by the style sheet; what is sent is as the camera gave it.

import type { CameraWish, FlashChallenge, FrameAnswer, PageAddress } from '../api/kiosk';

export type CameraState = 'off' | 'opening' | 'on' | 'denied' | 'missing' | 'lost';

/** Longest wait of one question whether the camera has to be on, in milliseconds. */
const WISH_WAIT_MS = 20_000;

/** Pause after the verification program did not answer, in milliseconds. */
const PAUSE_MS = 500;

/** Longest wait for the judgement of a frame. */
const FRAME_MS_MAX = 4_000;

/** What is asked of the camera, and the quality of the JPEG: 1280 x 720 at 0.85 is about 90 kB. */
const VIDEO: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: 'user' };
const JPEG_QUALITY = 0.85;

/** Frames that are sent are at most this large: what the verification program takes. */
const WIDTH_MAX = 1_280;
const HEIGHT_MAX = 720;

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

class Camera {
  state = $state<CameraState>('off');
  stream = $state.raw<MediaStream | undefined>(undefined);
  /** What the verification program says of the latest frame, sooner than the terminal's stream does. */
  guidance = $state<string | undefined>(undefined);
  /** The colour that the page shows now. */
  colour = $state<string | undefined>(undefined);
  #address: PageAddress | undefined;
  #wishes: AbortController | undefined;
  #wanted = false;
  #capture: AbortController | undefined;
  #video: HTMLVideoElement | undefined;

  /** Where the verification program is; after its restart it is another place. */
  follow(address: PageAddress | undefined): void {
    if (this.#address?.url === address?.url && this.#address?.token === address?.token) return;
    this.#address = address;
    this.#wishes?.abort();
    this.#wishes = undefined;
    if (!address) return this.#off();
    this.#wishes = new AbortController();
    void this.#followWishes(address, this.#wishes.signal);
  }

  async #ask(path: string, init: RequestInit, waitMs: number): Promise<Response> {
    const address = this.#address;
    if (!address) throw new Error('there is no verification program');
    const timeout = AbortSignal.timeout(waitMs);
    const gone = new AbortController();
    for (const signal of [timeout, init.signal]) {
      if (signal?.aborted) gone.abort();
      signal?.addEventListener('abort', () => gone.abort(), { once: true });
    }
    return fetch(`${address.url}${path}`, {
      ...init,
      cache: 'no-store',
      credentials: 'omit',
      headers: { ...init.headers, authorization: `Bearer ${address.token}` },
      signal: gone.signal,
    });
  }

  async #followWishes(address: PageAddress, signal: AbortSignal): Promise<void> {
    let after = 0;
    while (!signal.aborted && this.#address === address) {
      try {
        const path = `/v1/camera?after=${after}&wait_ms=${WISH_WAIT_MS}`;
        const response = await this.#ask(path, { signal }, WISH_WAIT_MS + FRAME_MS_MAX);
        if (!response.ok) throw new Error(`status ${response.status}`);
        const wish = (await response.json()) as CameraWish;
        after = wish.sequence;
        this.#wanted = wish.on;
        if (wish.on) void this.open();
        else this.#off();
      } catch {
        if (signal.aborted) return;
        // Nobody is there who could want it.
        this.#wanted = false;
        this.#off();
        after = 0;
        await pause(PAUSE_MS);
      }
    }
  }

  /** Opens it, if it is wanted; also after it was refused or lost. */
  async open(): Promise<void> {
    if (!this.#wanted || this.state === 'opening' || this.state === 'on') return;
    this.state = 'opening';
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: VIDEO, audio: false });
    } catch (error) {
      const denied = error instanceof DOMException && error.name === 'NotAllowedError';
      this.state = denied ? 'denied' : 'missing';
      return;
    }
    if (!this.#wanted) {
      stream.getTracks().forEach((track) => track.stop());
      this.state = 'off';
      return;
    }
    for (const track of stream.getVideoTracks()) {
      track.addEventListener('ended', () => {
        if (this.stream === stream) this.#lose();
      });
    }
    this.stream = stream;
    this.state = 'on';
  }

  #lose(): void {
    this.#off();
    this.state = 'lost';
  }

  #off(): void {
    this.#capture?.abort();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = undefined;
    this.state = 'off';
    this.guidance = undefined;
    this.colour = undefined;
  }

  /** The element that shows the stream. */
  show(video: HTMLVideoElement | undefined): void {
    this.#video = video;
  }

  /** Sends frames until enough are there, or this is stopped. */
  capture(challenge: FlashChallenge | undefined): () => void {
    this.#capture?.abort();
    const capture = new AbortController();
    this.#capture = capture;
    void this.#send(challenge, capture.signal);
    return () => {
      capture.abort();
      this.guidance = undefined;
      this.colour = undefined;
    };
  }

  async #send(challenge: FlashChallenge | undefined, signal: AbortSignal): Promise<void> {
    const canvas = document.createElement('canvas');
    let began = await this.#begin(challenge);
    while (!signal.aborted) {
      const frame = await this.#frame(canvas);
      if (signal.aborted) return;
      if (!frame) {
        await pause(50);
        began = await this.#begin(challenge);
        continue;
      }
      const atMs = Math.max(0, Math.round(frame.takenAt - began));
      try {
        const init = { method: 'POST', body: frame.jpeg, headers: { 'content-type': 'image/jpeg' }, signal };
        const response = await this.#ask(`/v1/frames?at_ms=${atMs}`, init, FRAME_MS_MAX);
        if (response.ok) {
          const answer = (await response.json()) as FrameAnswer;
          if (signal.aborted) return;
          this.guidance = answer.guidance ?? undefined;
          if (answer.enough) return;
          if (answer.guidance === 'start_again') began = await this.#begin(challenge);
        } else {
          await pause(PAUSE_MS);
        }
      } catch {
        if (!signal.aborted) await pause(PAUSE_MS);
      }
    }
  }

  /** The moment from which frames count: the first colour of a challenge has come up. */
  async #begin(challenge: FlashChallenge | undefined): Promise<number> {
    if (!challenge) return performance.now();
    const { colours, step_ms: stepMs } = challenge;
    this.colour = colours[0];
    // Two frames of the screen: the first is drawn after the change, the second when it is seen.
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const began = performance.now();
    const capture = this.#capture;
    const step = () => {
      const colour = colours[Math.floor((performance.now() - began) / stepMs)];
      if (capture !== this.#capture || capture?.signal.aborted) return;
      this.colour = colour;
      if (colour !== undefined) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    return began;
  }

  async #frame(canvas: HTMLCanvasElement): Promise<{ jpeg: Blob; takenAt: number } | undefined> {
    const video = this.#video;
    if (!video || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.videoWidth === 0) return undefined;
    const scale = Math.min(1, WIDTH_MAX / video.videoWidth, HEIGHT_MAX / video.videoHeight);
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext('2d')?.drawImage(video, 0, 0, canvas.width, canvas.height);
    const takenAt = performance.now();
    const jpeg = await new Promise<Blob | null>((done) => canvas.toBlob(done, 'image/jpeg', JPEG_QUALITY));
    return jpeg ? { jpeg, takenAt } : undefined;
  }
}

export const camera = new Camera();
