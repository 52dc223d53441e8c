package lab

import (
	"flag"
	"strconv"
)

// heavy asks for the long form of tests that have one.
var heavy = flag.Bool("heavy", false, "run the long form of the tests that have one")

// simulated leaves out what differs by the kernel, and by how long ciphers take, where
// something else is at stake.
var simulated = flag.Bool("simulated", false, "run over the links that work in virtual time alone")

// Heavy reports whether the long form is asked for. It is for tests that
// differ in more than a number of repetitions.
func Heavy() bool { return *heavy }

// Scale returns the number of repetitions of a test: many with -heavy, fewer
// under the race detector, which makes everything about ten times slower, and on
// 32 bits, where what is different shows at once: sizes, overflows, alignment.
func Scale(normal, underRace, withHeavy int) int {
	switch {
	case Heavy():
		return withHeavy
	case RaceEnabled || strconv.IntSize == 32:
		return underRace
	default:
		return normal
	}
}
