package slots_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/compress/internal/slots"
)

// TestBound expects no more slots to be taken at once than there are, each by
// one goroutine, and everyone to get one in the end.
func TestBound(t *testing.T) {
	t.Parallel()
	const n = 3
	s := slots.NewSet[int](n)
	var taken, most, done atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				slot := s.Take()
				now := taken.Add(1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				slot.Value++ // a race, if two had it
				taken.Add(-1)
				slot.Release()
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if most.Load() > n || done.Load() != 50*200 {
		t.Errorf("%d slots were taken at once, of %d; taken %d times", most.Load(), n, done.Load())
	}
	sum := 0
	for range n {
		sum += s.Take().Value
	}
	if sum != 50*200 {
		t.Errorf("the values add up to %d, want %d", sum, 50*200)
	}
}

// TestOpensOnDemand expects one slot to do for one goroutine, and another one
// for each that comes while all are taken.
func TestOpensOnDemand(t *testing.T) {
	t.Parallel()
	s := slots.NewSet[int](4)
	for range 100 {
		s.Take().Release()
	}
	if s.Open() != 1 {
		t.Errorf("%d slots are open after use by one goroutine", s.Open())
	}
	first, second := s.Take(), s.Take()
	if first == second || s.Open() != 2 {
		t.Errorf("%d slots are open, two are taken", s.Open())
	}
	if slots.NewSet[int](0).Take() == nil {
		t.Error("a set of none has no slot")
	}
}

// TestWaitsAcrossBubbles expects who waits for a slot in a bubble to get it when
// who has it outside gives it back, and the other way round.
func TestWaitsAcrossBubbles(t *testing.T) {
	s := slots.NewSet[int](1)
	slot := s.Take()
	inside := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		synctest.Test(t, func(*testing.T) {
			close(inside)
			s.Take().Release()
		})
	})
	<-inside
	slot.Release()
	wg.Wait()
	s.Take().Release()
}
