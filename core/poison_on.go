//go:build race || griddebug

package core

var poisonPattern = func() []byte {
	p := make([]byte, 64<<10)
	for i := range p {
		p[i] = 0xDD
	}
	return p
}()

// poison overwrites a buffer that is given back, so that a late reader sees
// rubbish and a late access is a race that the detector reports. Only copy is
// instrumented densely enough for that; a loop or clear is missed.
func poison(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, poisonPattern):]
	}
}
