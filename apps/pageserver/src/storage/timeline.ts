/**
 * One timeline in this process: what was ingested but is not written yet, and the layers that are.
 *
 *   put ──► open layer ──freeze──► frozen layers ──flush──► layers + manifest
 *                                                           │
 *   readers see all three                                   └─ durable up to the flushed point
 *
 * The state changes only in whole, synchronous steps: a reader that takes memory and layer map in one turn sees each
 * version exactly once. A flushed point is always the end of a finished record.
 */
import type { Ancestor, Manifest, VersionSearch } from '@coppice/layers';
import { LayerMap, OpenLayer } from '@coppice/layers';
import type { PageValue } from '@coppice/postgres';
import { CoppiceError, Semaphore, SequenceWait } from '@coppice/service-kit';
import type { Generation, LsnNumber, PageKey, TimelineId } from '@coppice/vocabulary';
import { Gate } from './gate';
import type { RecordSpan } from '../ingest/ingest-target';
import type { StoredLayer } from './stored-layer';

/** What a manifest says of a position between two records. */
export interface ConsistentPoint {
  readonly lsn: LsnNumber;
  /** Start of the record that ends at `lsn`; 0 where there is none yet. */
  readonly lastRecordLsn: LsnNumber;
  readonly sizeChangeBlocks: number;
}

/** In-memory versions that take no more, waiting to be written. */
export interface FrozenLayer {
  /** Absent when nothing but the position moved. */
  readonly layer: OpenLayer | undefined;
  readonly startLsn: LsnNumber;
  readonly endLsn: LsnNumber;
  /** What becomes durable with it. */
  readonly point: ConsistentPoint;
}

export interface TimelineLimits {
  /** An open layer is frozen at this size, bytes. */
  readonly openLayerBytes: number;
  /** Ingest waits while so many frozen layers are unwritten. */
  readonly maxFrozenLayers: number;
}

export interface TimelineOrigin {
  readonly id: TimelineId;
  readonly ancestor: { readonly timeline: Timeline; readonly lsn: LsnNumber } | undefined;
  readonly systemIdentifier: bigint;
  readonly layers: readonly StoredLayer[];
  readonly point: ConsistentPoint;
  readonly logicalBaseBlocks?: number | undefined;
  readonly isKnownToAncestor?: boolean;
  readonly limits: TimelineLimits;
  /** Called when versions are ready to be written. */
  readonly onFrozen?: ((timeline: Timeline) => void) | undefined;
}

/** No read of layers takes longer. */
const READ_MS = 10 * 60_000;

let lastSerial = 0;

export class Timeline {
  readonly id: TimelineId;
  /** This timeline's number in this process: the key of its cached pages. */
  readonly serial: number;
  readonly ancestor: TimelineOrigin['ancestor'];
  readonly systemIdentifier: bigint;
  /** Everything at or below it can be read. */
  readonly ingested: SequenceWait<number>;
  /** One mutation of layers and manifest at a time. */
  readonly writing = new Semaphore(1);
  /** One merge or sweep at a time; taken before `writing`. */
  readonly merging = new Semaphore(1);
  /** Everything that puts objects of this timeline is inside; closed when it is deleted. */
  readonly writes = new Gate();
  /** Whether its newest manifest was written by this process. */
  isOwned = false;
  /** Whether the ancestor's children's objects name this timeline. */
  isKnownToAncestor: boolean;
  /** Who needs it in memory: children that are loaded, receivers. */
  pins = 0;
  /** Time of last use, milliseconds of the monotonic clock. */
  usedAtMs = 0;
  /** When something was first seen that is not frozen, same clock; 0 when nothing was. */
  dirtySinceMs = 0;

  readonly #limits: TimelineLimits;
  readonly #onFrozen: TimelineOrigin['onFrozen'];
  readonly #flushes = new SequenceWait<number>(0);
  #layers: LayerMap<StoredLayer>;
  #open: OpenLayer | undefined;
  #frozen: readonly FrozenLayer[] = [];
  /** Versions above this are in `#open`. */
  #openStart: LsnNumber;
  #putLsn: LsnNumber = 0;
  #sizeChangeBlocks: number;
  #finished: ConsistentPoint;
  /** What will be durable once everything frozen is written. */
  #listable: ConsistentPoint;
  #flushed: ConsistentPoint;
  #failure: CoppiceError | undefined;
  #deletion: CoppiceError | undefined;
  #logicalBase: number | undefined;
  /** Layers that merges replaced lately: somebody may still read them. */
  #replaced: readonly { readonly layer: StoredLayer; readonly atMs: number }[] = [];

  constructor({ id, ancestor, systemIdentifier, layers, point, logicalBaseBlocks, isKnownToAncestor = false, limits, onFrozen }: TimelineOrigin) {
    lastSerial += 1;
    this.serial = lastSerial;
    this.id = id;
    this.ancestor = ancestor;
    this.systemIdentifier = systemIdentifier;
    this.#limits = limits;
    this.#onFrozen = onFrozen;
    this.#layers = LayerMap.of(layers);
    this.#openStart = point.lsn;
    this.#sizeChangeBlocks = point.sizeChangeBlocks;
    this.#finished = this.#listable = this.#flushed = point;
    this.ingested = new SequenceWait<number>(point.lsn);
    this.isKnownToAncestor = isKnownToAncestor;
    this.#logicalBase = ancestor === undefined ? 0 : logicalBaseBlocks;
  }

  /** Where the timeline's own WAL begins. */
  get startLsn(): LsnNumber {
    return this.ancestor?.lsn ?? this.#flushed.lsn;
  }
  get layers(): LayerMap<StoredLayer> {
    return this.#layers;
  }
  get frozen(): readonly FrozenLayer[] {
    return this.#frozen;
  }
  /** What the newest manifest says. */
  get flushed(): ConsistentPoint {
    return this.#flushed;
  }
  get durableLsn(): LsnNumber {
    return this.#flushed.lsn;
  }
  /**
   * How far safekeepers need to keep nothing: durable under a manifest of this generation. One of an older generation can
   * still be followed by a pageserver between it and this one, which knows less.
   */
  get releasedLsn(): LsnNumber {
    return this.isOwned ? this.#flushed.lsn : 0;
  }
  /** The last record that was applied whole. */
  get finished(): ConsistentPoint {
    return this.#finished;
  }
  /** Memory of versions that are not written yet. */
  get openBytes(): number {
    return this.#open?.bytes ?? 0;
  }
  get unwrittenBytes(): number {
    return this.#frozen.reduce((sum, f) => sum + (f.layer?.bytes ?? 0), this.openBytes);
  }
  /** Why nothing more is ingested; undefined while all is well. */
  get failure(): CoppiceError | undefined {
    return this.#failure;
  }
  /** Set once the timeline is deleted. */
  get deletion(): CoppiceError | undefined {
    return this.#deletion;
  }
  /** WAL of this timeline itself that was ingested, bytes. */
  get writtenWalBytes(): number {
    return this.#finished.lsn - this.startLsn;
  }
  /** Bytes of this timeline's own layers in object storage. */
  get ownBytes(): number {
    return this.#layers.runs.reduce((sum, { bytes }) => sum + bytes, 0);
  }
  /** Blocks that the timeline added to what it started with. */
  get sizeChangeBlocks(): number {
    return this.#finished.sizeChangeBlocks;
  }
  /** Logical size at the start, in blocks, once somebody has found it out. */
  get logicalBase(): number | undefined {
    return this.#logicalBase;
  }
  setLogicalBase(blocks: number): void {
    this.#logicalBase = blocks;
  }

  put(key: PageKey, lsn: LsnNumber, value: PageValue): void {
    this.#open ??= new OpenLayer(this.#openStart);
    this.#putLsn = lsn;
    this.#open.put(key, lsn, value);
  }

  resize(deltaBlocks: number): void {
    this.#sizeChangeBlocks += deltaBlocks;
  }

  finishRecord({ lsn, endLsn }: RecordSpan): void {
    this.#finished = { lsn: endLsn, lastRecordLsn: lsn, sizeChangeBlocks: this.#sizeChangeBlocks };
    this.ingested.advance(endLsn);
    if (this.#open !== undefined && this.#open.bytes >= this.#limits.openLayerBytes) this.freeze();
  }

  /** The record under way will be applied again from its start. */
  abandonRecord(): void {
    this.#sizeChangeBlocks = this.#finished.sizeChangeBlocks;
  }

  /** Whether anything was ingested that is not frozen. */
  get isDirty(): boolean {
    return this.#open !== undefined || this.#finished.lsn > this.#openStart;
  }

  /** Ends the open layer; false when there is nothing that is not frozen already. */
  freeze(): boolean {
    const isMidRecord = this.#putLsn > this.#finished.lsn;
    // Readers below an unfinished record must not need the layer that follows, so that record counts to the next one.
    const endLsn = isMidRecord ? Math.max(this.#finished.lsn, this.#putLsn - 1) : this.#finished.lsn;
    if (this.#open === undefined && endLsn <= this.#openStart) return false;
    // A layer that reaches into an unfinished record cannot be listed before the record is finished, so until then nothing
    // in it is durable.
    if (!isMidRecord) this.#listable = this.#finished;
    this.#frozen = [...this.#frozen, { layer: this.#open, startLsn: this.#openStart, endLsn, point: this.#listable }];
    this.#open = undefined;
    this.#openStart = endLsn;
    this.dirtySinceMs = 0;
    this.#onFrozen?.(this);
    return true;
  }

  /** Resolves when ingest may put more: not too much is waiting to be written. */
  async room(signal: AbortSignal): Promise<void> {
    if (this.openBytes >= this.#limits.openLayerBytes) this.freeze();
    while (this.#frozen.length >= this.#limits.maxFrozenLayers) await this.#flushes.waitFor(this.#flushes.value + 1, signal);
  }

  /** Takes what is in memory into the searches, newest first; call and use `layers` in one turn. */
  searchMemory(searches: readonly VersionSearch[]): void {
    const memory = [this.#open, ...this.#frozen.map((f) => f.layer).reverse()];
    for (const layer of memory) {
      if (layer === undefined) continue;
      for (const search of searches) if (!search.done && layer.startLsn < search.lsn) layer.search(search);
    }
  }

  /** Keys in memory of `[from, to)`, one sorted list per layer. */
  memoryKeys(from: PageKey, to: PageKey): PageKey[][] {
    return [this.#open, ...this.#frozen.map((f) => f.layer)].flatMap((layer) => (layer ? [layer.keysBetween(from, to)] : []));
  }

  /** The oldest frozen layer is in object storage and in the manifest: readers find it in the layer map from now on. */
  replaceFrozen(frozen: FrozenLayer, written: StoredLayer | undefined): void {
    if (this.#frozen[0] !== frozen) throw new Error('frozen layers are written oldest first');
    if (written) this.#layers = this.#layers.with({ added: [written] });
    this.#frozen = this.#frozen.slice(1);
    this.#flushed = frozen.point;
    this.#flushes.advance(this.#flushes.value + 1);
  }

  /** Merged layers take the place of those they were made of, which readers of this moment go on reading. */
  replaceLayers(change: { readonly added: readonly StoredLayer[]; readonly removed: readonly StoredLayer[] }, nowMs: number): void {
    this.#layers = this.#layers.with(change);
    const replaced = change.removed.map((layer) => ({ layer, atMs: nowMs }));
    this.#replaced = [...this.#replaced.filter(({ atMs }) => nowMs - atMs < READ_MS), ...replaced];
  }

  /** Layers that reads of this process may use: those of the map, and those replaced while such a read can last. */
  layersInUse(nowMs: number): StoredLayer[] {
    const replaced = this.#replaced.filter(({ atMs }) => nowMs - atMs < READ_MS).map(({ layer }) => layer);
    return [...this.#layers.layers, ...replaced];
  }

  /** What the object store has to say of this timeline at a point, with one more layer or without. */
  manifestAt(point: ConsistentPoint, generation: Generation, added?: StoredLayer): Manifest {
    const ancestor: Ancestor | undefined = this.ancestor && { timeline: this.ancestor.timeline.id, lsn: this.ancestor.lsn };
    return {
      timeline: this.id,
      ancestor,
      consistentLsn: point.lsn,
      lastRecordLsn: point.lastRecordLsn,
      generation,
      systemIdentifier: this.systemIdentifier,
      sizeChangeBlocks: point.sizeChangeBlocks,
      logicalBaseBlocks: this.#logicalBase,
      isKnownToAncestor: this.isKnownToAncestor,
      // Layers written in the middle of a record wait until it is finished: it will be applied again after a restart.
      layers: [...this.#layers.layers, ...(added ? [added] : [])].filter((layer) => layer.endLsn <= point.lsn),
    };
  }

  /** Ingest has ended for good; waits for positions beyond fail with this. */
  fail(error: CoppiceError): void {
    this.#failure = error;
    this.ingested.fail(error);
  }

  /** The timeline is deleted: waits fail, nothing more is written. Resolves when nothing is being written any more. */
  async end(deletion: CoppiceError): Promise<void> {
    this.#deletion = deletion;
    this.fail(deletion);
    await this.writes.close(deletion);
  }

  /** Whether it can leave memory without loss. */
  get isIdle(): boolean {
    return this.pins === 0 && this.#open === undefined && this.#frozen.length === 0 && this.#finished.lsn === this.#flushed.lsn;
  }
}
