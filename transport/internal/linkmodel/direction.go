package linkmodel

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// tailCap is how many times TailLatency the longest delay of the tail takes.
const tailCap = 100

// NewKey returns what tells one source of draws from all others of a seed: the
// names of what it is for, and a number among those of the same names.
func NewKey(seed, number uint64, names ...string) uint64 {
	h := fnv.New64a()
	for _, name := range names {
		_, _ = h.Write([]byte(name))
		_, _ = h.Write([]byte{0xff}) // in no UTF-8, so it ends a name
	}
	// The generator spreads what differs in a few bits only over all of them.
	var mixed rand.PCG
	mixed.Seed(seed, h.Sum64())
	mixed.Seed(mixed.Uint64(), number)
	return mixed.Uint64()
}

// A Direction draws what happens to what one direction of a connection carries.
// It is not safe for concurrent use.
type Direction struct {
	key  uint64
	sent uint64    // events so far
	free time.Time // when the line has sent what it was given before
}

// NewDirection returns a Direction that has carried nothing.
func NewDirection(key uint64) Direction { return Direction{key: key} }

// A Fate is what happens to one frame, or to another event of the link such as
// its end.
type Fate struct {
	// Sent is when the line has taken its last byte.
	Sent time.Time
	// Delay is how long it travels after that.
	Delay time.Duration
	// Flip is the bit to flip, or -1: bit i%8 of byte i/8.
	Flip int
}

// Next draws the fate of the next frame, of size bytes, or of another event if
// size is 0. now must not go back.
func (d *Direction) Next(c *Conditions, now time.Time, size int) Fate {
	var source rand.PCG
	source.Seed(d.key, d.sent)
	d.sent++
	draw := rand.New(&source)

	// Every event draws the same numbers, whatever the conditions, so that
	// changing one of them leaves the others' alone.
	jitter, tail, length, corrupt, bit := draw.Float64(), draw.Float64(), draw.Float64(), draw.Float64(), draw.Uint64()

	f := Fate{Sent: now, Delay: c.Latency + time.Duration(jitter*float64(c.Jitter)), Flip: -1}
	if tail < c.Tail {
		f.Delay += tailDelay(c.TailLatency, length)
	}
	if corrupt < c.Corrupt && size > 0 {
		f.Flip = int(bit % (uint64(size) * 8))
	}
	if c.Bandwidth > 0 {
		if d.free.Before(now) {
			d.free = now
		}
		d.free = d.free.Add(transmission(size, c.Bandwidth))
		if furthest := now.Add(MaxTime); d.free.After(furthest) {
			d.free = furthest
		}
		f.Sent = d.free
	}
	return f
}

// tailDelay is Pareto distributed with shape 1, the heaviest that still looks
// like a network: one in n draws takes n times the least or longer.
func tailDelay(least time.Duration, draw float64) time.Duration {
	factor := float64(tailCap)
	if draw > 1./tailCap {
		factor = 1 / draw
	}
	return time.Duration(min(float64(least)*factor, float64(MaxTime)))
}

func transmission(size, perSecond int) time.Duration {
	return time.Duration(min(float64(size)/float64(perSecond)*float64(time.Second), float64(MaxTime)))
}
