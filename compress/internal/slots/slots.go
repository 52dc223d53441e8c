// Package slots keeps a bounded number of things that are expensive to make and
// that one goroutine uses at a time, such as coders with their tables. It has
// no channels and no goroutines: what a set holds may be taken inside a bubble
// of testing/synctest, in another one, and outside, at the same time. Waiting
// is on a mutex, so whoever has taken a slot computes and does not wait.
package slots

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Set is a number of slots. It opens them one by one, when all that are open
// are taken: what is made for the slots grows with how many are needed at once.
type Set[T any] struct {
	open atomic.Int32
	all  []Slot[T]
}

// Slot is a place for a value, which belongs to who has taken the slot.
type Slot[T any] struct {
	taken sync.Mutex
	Value T
	_     [64]byte // so that neighbours do not share a cache line
}

// NewSet returns a set of n slots, at least one, whose values are zero.
func NewSet[T any](n int) *Set[T] {
	s := &Set[T]{all: make([]Slot[T], max(n, 1))}
	s.open.Store(1)
	return s
}

// Take returns a slot that nobody else has until its Release. It waits if all
// are taken.
func (s *Set[T]) Take() *Slot[T] {
	for {
		open := int(s.open.Load())
		first := 0
		if open > 1 {
			// So that goroutines do not all try the same slots in turn.
			first = rand.IntN(open)
		}
		for i := range open {
			if slot := &s.all[(first+i)%open]; slot.taken.TryLock() {
				return slot
			}
		}
		if open == len(s.all) {
			slot := &s.all[first]
			slot.taken.Lock()
			return slot
		}
		s.open.CompareAndSwap(int32(open), int32(open+1))
	}
}

// Open returns how many slots have been in use at once.
func (s *Set[T]) Open() int { return int(s.open.Load()) }

// Release gives the slot and its value back.
func (s *Slot[T]) Release() { s.taken.Unlock() }

// Small is the size in bytes up to which work is small.
const Small = 64 << 10

// Pair is two sets, one for small work and one for all other, so that nobody who has
// little to do waits for those who have much.
type Pair[T any] struct{ small, large *Set[T] }

// NewPair returns a pair of sets of n slots each.
func NewPair[T any](n int) Pair[T] { return Pair[T]{NewSet[T](n), NewSet[T](n)} }

// Take is Take of the set for work of that size in bytes.
func (p Pair[T]) Take(size int) *Slot[T] {
	if size <= Small {
		return p.small.Take()
	}
	return p.large.Take()
}
