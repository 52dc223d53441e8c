package core

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestGenerationsRunOut holds that a slot whose generations are used up is
// never used again, while others serve.
func TestGenerationsRunOut(t *testing.T) {
	var table callTable
	table.limit = 2
	first, err := table.get(nil, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	table.put(first)
	first.generation = math.MaxUint32 - 1
	last, err := table.get(nil, 0, nil)
	if err != nil || last != first || last.generation != math.MaxUint32 {
		t.Fatalf("the slot was not used for its last generation: %+v, %v", last, err)
	}
	id := last.id(0)
	table.put(last)
	for range 3 {
		next, err := table.get(nil, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if next == first || next.id(0) == id {
			t.Error("a slot without generations was used again")
		}
		table.put(next)
	}
	other, _ := table.get(nil, 0, nil)
	if _, err := table.get(nil, 0, nil); !errors.Is(err, ErrOverloaded) {
		t.Errorf("with one slot retired and %d in use another call gives %v, want ErrOverloaded", other.index, err)
	}
}

// TestSlotsOfAPeakAreLetGo makes many calls at once, and again when the session has been
// at rest. It keeps few of the slots, which it used to keep all, and no id comes twice.
func TestSlotsOfAPeakAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 10 * keptSlots
		release := make(chan struct{})
		a, _ := newTestPair(t, nil, func(b *Manager) error { return b.Handle("hold", hold(release)) })
		conn := a.Connection("b")
		table := &conn.current.Load().calls
		for range 3 {
			var wg sync.WaitGroup
			for range calls {
				wg.Go(func() {
					if _, err := conn.Request(t.Context(), "hold", nil); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			time.Sleep(a.cfg.KeepAlive)
			if n := table.pending(); n != calls {
				t.Errorf("%d calls are in progress, want %d", n, calls)
			}
			for range calls {
				release <- struct{}{}
			}
			wg.Wait()
			time.Sleep(2 * a.cfg.KeepAlive)
			table.mu.Lock()
			if n := len(table.slots); n != keptSlots || len(table.free) != n {
				t.Errorf("%d slots are kept, %d of them free, want %d", n, len(table.free), keptSlots)
			}
			table.mu.Unlock()
		}
	})
}

// TestIdsAfterSlotsWereLetGo holds that a slot which is made again goes on with its
// generations, or stays retired, and that the ids of before count as opened.
func TestIdsAfterSlotsWereLetGo(t *testing.T) {
	table := callTable{limit: 2 * keptSlots}
	seen := make(map[wire.CallID]bool)
	fill := func() (all []*slot) {
		for {
			sl, err := table.get(nil, 0, nil)
			if err != nil {
				return all
			}
			if id := sl.id(0); seen[id] {
				t.Fatalf("the id %v was used twice", id)
			}
			seen[sl.id(0)] = true
			all = append(all, sl)
		}
	}
	all := fill()
	all[5].generation, all[keptSlots+5].generation = math.MaxUint32, math.MaxUint32
	for round := range 3 {
		for _, sl := range all {
			table.put(sl)
		}
		table.trim()
		if n := table.pending(); n != 0 || len(table.slots) != keptSlots {
			t.Errorf("round %d: %d calls are pending, %d slots are kept", round, n, len(table.slots))
		}
		for id := range seen {
			if !table.opened(id) {
				t.Fatalf("round %d: the id %v does not count as opened", round, id)
			}
			table.tooLate(id, 1) // the writer may say so after its caller has gone
		}
		if next := wire.MakeCallID(uint32(round)+2, keptSlots+1, 0); table.opened(next) {
			t.Errorf("round %d: the id %v counts as opened", round, next)
		}
		if all = fill(); len(all) != 2*keptSlots-2 {
			t.Errorf("round %d: %d calls are possible beside two slots that are retired, want %d", round, len(all), 2*keptSlots-2)
		}
	}
}

// TestTimerOfManyCallsRests has very many calls run out of time one by one. They end in
// time all the same, but several at once: to find the next one takes long where there
// are so many, and used to be all that one processor did, holding the lock of all calls.
func TestTimerOfManyCallsRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			calls = 10_000
			apart = 10 * time.Microsecond
			most  = calls * timerRest
		)
		release := make(chan struct{})
		defer close(release)
		a, _ := newTestPair(t, func(cfg *Config) { cfg.MaxHandlers = calls }, func(b *Manager) error {
			return b.Handle("late", func(context.Context, []byte) ([]byte, error) { <-release; return nil, nil })
		})
		instants := make(map[time.Duration]bool) // at which calls end
		var mu sync.Mutex
		var wg sync.WaitGroup
		start := time.Now()
		for i := range calls {
			limit := time.Second + time.Duration(i)*apart
			wg.Go(func() {
				_, err := a.Connection("b").Request(t.Context(), "late", nil, WithTimeout(limit))
				after := time.Since(start)
				if !errors.Is(err, context.DeadlineExceeded) || after < limit || after > limit+most {
					t.Errorf("a call with a time-out of %v ended after %v: %v", limit, after, err)
				}
				mu.Lock()
				defer mu.Unlock()
				instants[after] = true
			})
		}
		wg.Wait()
		if looks, want := len(instants), int(calls*apart/most)*2; looks > want {
			t.Errorf("the timer looked for calls whose time is over %d times in %v, want at most %d", looks, calls*apart, want)
		}
	})
}
