//go:build linux || darwin

package proctest_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
)

// load makes calls to all peers in turn at a steady rate, however long each
// takes, and repeats those that are safe to repeat.
type load struct {
	quit    chan struct{}
	over    chan struct{} // closed when no more calls are begun
	calls   sync.WaitGroup
	mu      sync.Mutex
	made    int
	failed  int
	repeats int
	first   string // error of the first call that failed
}

func (l *load) start(m *core.Manager, own string, peers []core.Node, rate int) {
	var to []*core.Connection
	for _, n := range peers {
		if n.Name != own {
			to = append(to, m.Connection(n.Name))
		}
	}
	quit, over := make(chan struct{}), make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quit, l.over = quit, over
	go func() {
		defer close(over)
		ticks := time.NewTicker(time.Second / time.Duration(rate))
		defer ticks.Stop()
		for n := 0; ; n++ {
			select {
			case <-ticks.C:
			case <-quit:
				return
			}
			l.calls.Go(func() { l.call(to[n%len(to)], loadWork(own, n)) })
		}
	}()
}

// loadWork is the call number n of a process. Some take a while, so that now and
// then a node has something to finish when it leaves, and now and then not.
func loadWork(own string, n int) work {
	w := work{id: fmt.Sprintf("%s/%d/%d", own, os.Getpid(), n), mode: modeEcho}
	if n%5 == 0 {
		w.mode, w.d = modeSleep, loadTime
	}
	return w
}

const (
	// repeatPause is between a call that was refused and its repetition.
	repeatPause = 2 * time.Millisecond
	// loadTime is how long the handler of a call takes, if it takes a while.
	loadTime = 20 * time.Millisecond
)

// call makes one call until it succeeds, or until nobody knows.
func (l *load) call(to *core.Connection, w work) {
	req := w.request()
	repeats := 0
	for {
		_, err := to.Request(context.Background(), workHandler, req, core.WaitForConnection(), core.WithTimeout(patience))
		if out := core.OutcomeOf(err); err != nil && (out == core.OutcomeNotSent || out == core.OutcomeRefused) {
			repeats++
			pass(repeatPause)
			continue
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.made++
		l.repeats += repeats
		if err != nil {
			l.failed++
			if l.first == "" {
				l.first = err.Error()
			}
		}
		return
	}
}

// stop begins no more calls and waits for those that are under way.
func (l *load) stop() {
	l.mu.Lock()
	quit, over := l.quit, l.over
	l.quit = nil
	l.mu.Unlock()
	if quit == nil {
		return
	}
	close(quit)
	<-over
	l.calls.Wait()
}

func (l *load) report() event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return event{Kind: loadOver, Calls: l.made, Failed: l.failed, Repeats: l.repeats, Err: l.first}
}
