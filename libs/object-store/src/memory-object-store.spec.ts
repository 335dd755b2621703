import { MemoryObjectStore } from './memory-object-store';
import { objectStoreSuite } from './suite/object-store-suite';

objectStoreSuite('memory', async () => new MemoryObjectStore());
