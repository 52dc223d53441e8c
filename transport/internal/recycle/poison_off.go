//go:build !race && !griddebug

package recycle

// Poison does nothing; under the race detector and with griddebug it overwrites b.
func Poison([]byte) {}
