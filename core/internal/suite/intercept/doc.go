// Package intercept has no code but tests: those of what surrounds calls: interceptors on both sides, and the
// metadata that travels with a call.
package intercept
