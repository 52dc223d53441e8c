package compress

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// Level says how much processor time a codec spends for smaller messages. What
// one level makes, every level decodes.
type Level uint8

// The levels, from the least processor time to the smallest messages. S2 has
// three of them: Balanced is Better there.
const (
	Fastest  Level = iota // the default
	Balanced              // about the default of the zstd command, level 3
	Better                // about its level 7
	Best                  // about its level 11, at a multiple of the time and memory
)

// ZstdOption is an option of [Zstd].
type ZstdOption interface{ zstd(c *config) }

// S2Option is an option of [S2].
type S2Option interface{ s2(c *config) }

// Option is an option of both codecs.
type Option interface {
	ZstdOption
	S2Option
}

type (
	option     func(c *config)
	zstdOption func(c *config)
)

func (o option) zstd(c *config)     { o(c) }
func (o option) s2(c *config)       { o(c) }
func (o zstdOption) zstd(c *config) { o(c) }

// WithLevel sets the level of compression; without it, it is [Fastest].
func WithLevel(l Level) Option {
	return option(func(c *config) {
		if l > Best {
			c.refusef("WithLevel(%d): there are the levels %d to %d", l, Fastest, Best)
			return
		}
		c.level = l
	})
}

// WithDictionary gives the codec dictionaries, in order of preference: it
// decodes messages made with any of them, and compresses with the first that
// the receiver has too. To replace a dictionary, give every node the new one in
// front of the old one, node by node in any order, and take the old one away
// when all have both. At most 16, which is also the limit with the option given
// several times.
func WithDictionary(preferred *Dictionary, others ...*Dictionary) Option {
	return option(func(c *config) {
		for _, d := range append([]*Dictionary{preferred}, others...) {
			switch {
			case d == nil:
				c.refusef("WithDictionary: a dictionary is nil")
			case slices.ContainsFunc(c.dicts, func(e *Dictionary) bool { return e.id == d.id }):
				c.refusef("WithDictionary: dictionary %016x is given twice", d.id)
			case len(c.dicts) == maxDictionaries:
				c.refusef("WithDictionary: more than %d dictionaries", maxDictionaries)
			default:
				c.dicts = append(c.dicts, d)
			}
		}
	})
}

// WithConcurrency sets how many messages up to 64 KiB are compressed at once, how
// many larger ones, and how many of each are decoded: with each dictionary, and
// without one. It bounds the memory of the codec. Further calls wait until one of
// those in progress is done, and until others have been served that wait too; a
// message up to 64 KiB never waits for a larger one, but shares the processor with
// it. Without the option it is the value of GOMAXPROCS when the codec is made.
func WithConcurrency(n int) Option {
	return option(func(c *config) {
		if n < 1 {
			c.refusef("WithConcurrency(%d): it takes at least 1", n)
			return
		}
		c.concurrency = n
	})
}

// WithWindow sets how far back in a message zstd looks for repetitions, in
// bytes: a power of two from 64 KiB to 8 MiB, 1 MiB without the option. It
// matters for messages that are larger, and for the memory of the codec.
// Receivers need no such option.
func WithWindow(size int) ZstdOption {
	return zstdOption(func(c *config) {
		if size < minWindow || size > maxWindow || size&(size-1) != 0 {
			c.refusef("WithWindow(%d): a window is a power of two from %d to %d", size, minWindow, maxWindow)
			return
		}
		c.window = size
	})
}

const (
	maxDictionaries = 16
	minWindow       = 64 << 10 // not below the block of the fastest level, see room
	maxWindow       = 8 << 20
)

// config is what the options have set. An impossible one leaves it as it was.
type config struct {
	name        string
	level       Level
	dicts       []*Dictionary
	concurrency int
	window      int
	errs        []error
}

func newConfig(name string) *config {
	return &config{name: name, concurrency: runtime.GOMAXPROCS(0), window: 1 << 20}
}

func (c *config) refusef(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("compress: "+c.name+": "+format, args...))
}

func (c *config) err() error { return errors.Join(c.errs...) }
