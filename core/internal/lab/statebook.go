package lab

import (
	"sync"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// StateBook remembers what OnState was told. The zero value is ready, and
// everything may be called concurrently.
type StateBook struct {
	mu      sync.Mutex
	changes []core.StateChange
}

// Note is for Config.OnState.
func (b *StateBook) Note(s core.StateChange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes = append(b.changes, s)
}

// Of returns what was told of one peer, or of all for "".
func (b *StateBook) Of(peer string) (changes []core.StateChange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.changes {
		if peer == "" || s.Peer == peer {
			changes = append(changes, s)
		}
	}
	return changes
}

// Books gives every node a StateBook. A node that is restarted keeps its own.
func Books(n int) ([]*StateBook, coretest.Option) {
	all := make([]*StateBook, n)
	for i := range all {
		all[i] = new(StateBook)
	}
	return all, coretest.WithConfig(func(i int, cfg *core.Config) { cfg.OnState = all[i].Note })
}
