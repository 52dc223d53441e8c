//go:build race || griddebug

package recycle

// Poison overwrites a buffer that goes back to its pool, so that whoever still
// uses a borrowed frame sees garbage in the tests rather than in production.
func Poison(b []byte) {
	// By copies of itself: a loop over the bytes takes a third of a millisecond
	// under the race detector, and a reader that idles often does this often.
	b[0] = 0xdb
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}
