//go:build race || griddebug

package core

var poisonPattern = func() []byte {
	p := make([]byte, bufferClasses[len(bufferClasses)-1])
	for i := range p {
		p[i] = 0xDD
	}
	return p
}()

// poison overwrites a buffer that is given back, so that a late reader sees
// rubbish and a late access is a race that the detector reports. Only copy is
// instrumented densely enough for that; a loop or clear is missed.
func poison(b []byte) { copy(b, poisonPattern) }
