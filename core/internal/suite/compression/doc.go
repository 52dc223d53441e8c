// Package compression has no code but tests: those of calls and streams whose
// messages are compressed, with the codecs of package compress and with some that
// misbehave. They hold that messages arrive whole between nodes that are configured
// in all ways, that what cannot be restored costs its call alone, and that compression
// is never worse than none. What the codecs do by themselves is tested beside them.
package compression
