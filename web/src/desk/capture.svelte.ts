// An enrolment, from the consent to the templates: opened at the payment server, captured by the desk's program on this
// machine (`selfsame desk serve`), whose loopback port only pages of the server may call.

import type { Capture, DeskStatus, Operations } from '../api/desk';
import type { Enrolment } from '../api/server';
import { client, NoAnswer, Refused } from '../shared/http';
import { sleep } from '../staff/clock.svelte';
import type { Server } from '../staff/server.svelte';

/** One long poll, in milliseconds. */
const POLL_MS = 15_000;

/** Size of the picture that is asked of the camera, and quality of its frames. */
const WIDTH = 1280;
const HEIGHT = 720;
const JPEG_QUALITY = 0.85;

/** Pause after a frame that came too early. */
const PAUSE_MS = 150;

/** The desk of this machine. */
export interface Desk { origin: string; status: DeskStatus }

/** The desk that answers on this machine, if one does. */
export async function findDesk(origins: readonly string[]): Promise<Desk | null> {
  const answers = origins.map(async (origin) => {
    try {
      return { origin, status: await client<Operations>(origin)('GET /v1/desk', { timeoutMs: 2_000 }) };
    } catch {
      return null;
    }
  });
  return (await Promise.all(answers)).find((desk) => desk !== null) ?? null;
}

export type Trouble = 'denied' | 'none' | 'lost';

export interface Wanted { account: string; consent: string; modality: 'face' | 'finger'; instance: number }

export class Capturing {
  capture = $state<Capture | null>(null);
  /** What keeps the camera from it. */
  camera = $state<Trouble | null>(null);
  /** The camera's picture, for the preview. */
  stream = $state.raw<MediaStream | null>(null);
  /** What the server or the desk said in place of a capture. */
  problem = $state<string | null>(null);
  #enrolment: Enrolment | null = null;
  #key: string | null = null;
  #over = false;

  constructor(private readonly server: Server, private readonly desk: Desk, private readonly wanted: Wanted) {}

  /** Begins, or begins again with the same enrolment. */
  async start(): Promise<void> {
    this.capture = null;
    this.camera = null;
    this.problem = null;
    this.#over = false;
    if (this.#needsCamera && !(await this.#open())) return;
    try {
      // After samples that could not be used the enrolment goes on, under a new nonce.
      this.#enrolment = this.#enrolment
        ? await this.server.call('GET /v1/enrolments/{id}', { path: { id: this.#enrolment.id } })
        : await this.#create();
      if (this.#enrolment.state !== 'capturing' || !this.#enrolment.nonce) this.#enrolment = await this.#create();
      const { key, capture } = await client<Operations>(this.desk.origin)('POST /v1/captures', { body: { enrolment: this.#enrolment } });
      this.#key = key;
      this.capture = capture;
      if (this.#over) return this.cancel();
      if (this.#needsCamera) void this.#frames(key);
      void this.#follow(key);
    } catch (error) {
      this.#release();
      this.problem = error instanceof Refused ? error.message : error instanceof NoAnswer ? '' : String(error);
    }
  }

  /** Gives up; the camera's light goes out. */
  async cancel(): Promise<void> {
    this.#over = true;
    this.#release();
    if (this.#key) await this.#call(this.#key)('POST /v1/captures/current/cancel').catch(() => undefined);
  }

  get isOver(): boolean {
    return this.problem !== null || this.camera !== null || (this.capture !== null && this.capture.state !== 'capturing' && this.capture.state !== 'sending');
  }

  get #needsCamera(): boolean {
    const at = this.desk.status.modalities.indexOf(this.wanted.modality);
    return ['browser', 'posted'].includes(this.desk.status.sources[at] ?? '');
  }

  #call(key: string) {
    return client<Operations>(this.desk.origin, { authorization: `Bearer ${key}` });
  }

  #create(): Promise<Enrolment> {
    return this.server.call('POST /v1/enrolments', { body: { ...this.wanted, terminal: this.desk.status.terminal } });
  }

  async #open(): Promise<boolean> {
    try {
      const video = { width: { ideal: WIDTH }, height: { ideal: HEIGHT }, facingMode: 'user' };
      const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      if (this.#over) {
        stream.getTracks().forEach((track) => track.stop());
        return false;
      }
      this.stream = stream;
      stream.getVideoTracks()[0]?.addEventListener('ended', () => { if (this.stream === stream) this.#lost(); });
      return true;
    } catch (error) {
      this.camera = error instanceof DOMException && error.name === 'NotAllowedError' ? 'denied' : 'none';
      return false;
    }
  }

  #lost(): void {
    this.camera = 'lost';
    void this.cancel();
  }

  #release(): void {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
  }

  /** One frame after the other, as fast as the desk judges them. They go there and nowhere else. */
  async #frames(key: string): Promise<void> {
    const { stream } = this;
    if (!stream) return;
    const video = document.createElement('video');
    video.muted = true;
    video.srcObject = stream;
    await video.play();
    const canvas = document.createElement('canvas');
    const started = performance.now();
    while (this.stream === stream && !this.isOver) {
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      canvas.getContext('2d')?.drawImage(video, 0, 0);
      const jpeg = await new Promise<Blob | null>((done) => { canvas.toBlob(done, 'image/jpeg', JPEG_QUALITY); });
      if (!jpeg || this.stream !== stream) break;
      const at = Math.round(performance.now() - started);
      const answer = await fetch(`${this.desk.origin}/v1/frames?at_ms=${at}`, {
        method: 'POST', body: jpeg, cache: 'no-store', headers: { authorization: `Bearer ${key}`, 'content-type': 'image/jpeg' },
      }).catch(() => null);
      // Between two pictures nobody waits for one.
      if (!answer?.ok) await sleep(PAUSE_MS);
    }
    video.srcObject = null;
    canvas.width = 0;
  }

  async #follow(key: string): Promise<void> {
    while (this.#key === key && this.capture && !this.isOver) {
      try {
        const query = { after: String(this.capture.sequence), wait_ms: String(POLL_MS) };
        this.capture = await this.#call(key)('GET /v1/captures/current', { query, timeoutMs: POLL_MS + 5_000 });
      } catch (error) {
        if (error instanceof NoAnswer) await sleep(PAUSE_MS);
        else this.problem = error instanceof Error ? error.message : '';
      }
    }
    this.#release();
  }
}
