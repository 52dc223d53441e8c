package suite_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleDay lets five nodes idle for 24 hours with keep-alive. Nothing
// happens, and nothing is left: the bubble would not end otherwise.
func TestIdleDay(t *testing.T) {
	for _, l := range links {
		if !l.bubble {
			continue
		}
		const day = 24 * time.Hour
		t.Run(l.name, func(t *testing.T) {
			began := time.Now()
			synctest.Test(t, func(t *testing.T) {
				book, note := books(5)
				c := l.cluster(t, 5, note)
				began := time.Now()
				time.Sleep(day)
				synctest.Wait()
				if d := time.Since(began); d != day {
					t.Errorf("%v passed, want %v", d, day)
				}
				for i := range c.Len() {
					if changes := book[i].of(""); len(changes) != 8 {
						t.Errorf("node %d was told of %d changes, want two per peer", i, len(changes))
					}
					for j := range c.Len() {
						mustCall(t, c.Conn(i, j), "echo", []byte("awake"))
					}
				}
			})
			t.Logf("%v of five idle nodes over %s took %v", day, l.name, time.Since(began))
		})
	}
}
