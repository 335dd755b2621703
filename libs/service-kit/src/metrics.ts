/** Metrics by prom-client; declared beside the code that moves them, no per-tenant labels. */
export { Counter, Gauge, Histogram, register as metricsRegistry } from 'prom-client';
