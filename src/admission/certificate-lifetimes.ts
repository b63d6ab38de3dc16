/**
 * How long self-managed certificates live unless a flag says otherwise: apart, so that reading the settings loads no
 * cryptography.
 * @module
 */

/** Of an authority, milliseconds: it is replaced after two thirds. */
export const defaultAuthorityLifetimeMs = 90 * 24 * 3_600_000;
/** Of a serving certificate, milliseconds. */
export const defaultLeafLifetimeMs = 24 * 3_600_000;
