package inmem

import (
	"sync"
	"time"
)

// In a network with a seed no two arrivals share an instant, so that a
// simulation in which each has come to rest before the next one begins never
// depends on how the scheduler orders goroutines. Every source of arrivals has a
// slot, a residue modulo cycle that its instants have: which instant an arrival
// gets depends on its own source alone. Only where there are more sources than
// slots do two have to avoid each other.
const (
	// cycle divides a millisecond, so that what a simulation does at round
	// times (slot 0) does not meet an arrival either.
	cycle = 10 * time.Microsecond

	slotsPerPath   = 8
	dialSlot       = slotsPerPath - 1 // of the direction that is dialled
	acceptSlot     = slotsPerPath - 2 // as well
	connSlots      = slotsPerPath - 2 // taken in turns by the connections
	minTakenToTrim = 1024
)

// instants hands out the instants of a network with a seed.
type instants struct {
	mu sync.Mutex // a leaf; never held while waiting

	// Guarded by mu.
	taken map[int64]struct{} // instants, in ns
	trim  int                // how many make it worth to look for those gone by
}

func newInstants() *instants {
	return &instants{taken: make(map[int64]struct{}), trim: minTakenToTrim}
}

// reserve returns the first free instant of the slot that is after now and not
// before at.
func (s *instants) reserve(now, at time.Time, slot time.Duration) time.Time {
	present := now.UnixNano()
	t := max(at.UnixNano(), present+1)
	t += (int64(slot) - t%int64(cycle) + int64(cycle)) % int64(cycle)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if _, taken := s.taken[t]; !taken {
			break
		}
		t++
	}
	if len(s.taken) >= s.trim {
		for old := range s.taken {
			if old <= present {
				delete(s.taken, old)
			}
		}
		s.trim = max(2*len(s.taken), minTakenToTrim)
	}
	s.taken[t] = struct{}{}
	return now.Add(time.Duration(t - present))
}

// slot returns slot number k of the path between two nodes. The nodes are
// numbered as they were made, and paths so that few nodes have small numbers.
func slot(from, to *Transport, k uint64) time.Duration {
	i, j := from.number, to.number
	pair := j*j + i
	if i >= j {
		pair = i*i + i + j
	}
	return time.Duration(1 + (pair*slotsPerPath+k)%uint64(cycle-1))
}
