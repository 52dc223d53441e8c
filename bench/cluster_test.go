package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// slowToClose is a network of nodes that take two seconds to close.
type slowToClose struct{ network }

func (n slowToClose) site(name string) (site, error) {
	s, err := n.network.site(name)
	return slowSite{s}, err
}

type slowSite struct{ site }

func (s slowSite) boot() (transport.Transport, error) {
	t, err := s.site.boot()
	return slowTransport{t}, err
}

type slowTransport struct{ transport.Transport }

func (t slowTransport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	l, err := t.Transport.Listen(ctx, addr)
	return slowListener{l}, err
}

type slowListener struct{ transport.Listener }

func (l slowListener) Close() error {
	time.Sleep(2 * endTimeout)
	return l.Listener.Close()
}

// TestCloseTogether expects the nodes of a cluster to close at the same time, and not one after another.
func TestCloseTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		c, err := openCluster(t.Context(), slowToClose{memory{inmem.NewNetwork()}}, names, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.end(t.Context())
		if took := time.Since(began); took < 2*endTimeout || took > 3*endTimeout {
			t.Errorf("%d nodes that take two seconds each took %v to close", len(names), took)
		}
	})
}

// TestTimeoutLeavesNothing expects a cluster to be closed when the time for something with it is over: only after an
// interrupt there is nothing that it could disturb.
func TestTimeoutLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := openCluster(t.Context(), slowToClose{memory{inmem.NewNetwork()}}, []string{"a", "b"}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		<-ctx.Done()
		began := time.Now()
		c.end(ctx)
		if took := time.Since(began); took < 2*endTimeout {
			t.Errorf("nodes that take two seconds to close were left after %v", took)
		}
	})
}

// stubborn is a network whose nodes dial until they are killed, whatever becomes of who asked for it.
type stubborn struct{ network }

func (n stubborn) site(name string) (site, error) {
	s, err := n.network.site(name)
	return &stubbornSite{site: s, killed: make(chan struct{})}, err
}

type stubbornSite struct {
	site

	killed chan struct{}
	once   sync.Once
}

func (s *stubbornSite) boot() (transport.Transport, error) {
	t, err := s.site.boot()
	return stubbornTransport{t, s.killed}, err
}

func (s *stubbornSite) kill() {
	s.once.Do(func() { close(s.killed) })
	s.site.kill()
}

type stubbornTransport struct {
	transport.Transport

	killed chan struct{}
}

func (t stubbornTransport) Dial(context.Context, transport.Peer) (transport.Conn, error) {
	time.Sleep(time.Second)
	<-t.killed
	return nil, errKilled
}

// TestInterruptCutsHandshakes expects a cluster that is interrupted while its nodes connect to be gone at once, and
// not to wait for what is being made over its sockets.
func TestInterruptCutsHandshakes(t *testing.T) {
	for idle, name := range map[bool]string{true: "fresh", false: "measured"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(5*time.Second, cancel).Stop()
				began := time.Now()
				k := kind{name: "stubborn", open: func(hosts) network { return stubborn{memory{inmem.NewNetwork()}} }}
				if _, err := measureCluster(ctx, k, 8, idle); err == nil {
					t.Error("nodes that do not connect are a cluster")
				}
				if took := time.Since(began); took > 7*time.Second {
					t.Errorf("interrupted after 5s, it took %v", took)
				}
			})
		})
	}
}

// TestBriefErrors expects what a large cluster that does not connect fails with to be told in one line that is not
// too long to read.
func TestBriefErrors(t *testing.T) {
	rep := &report{}
	rep.fail("quic", "measuring clusters", errors.Join(slices.Repeat([]error{core.ErrDisconnected, errors.New("ääää")}, 200)...))
	said := rep.Failures[0].Error
	if len(said) > 600 || strings.Contains(said, "\n") || !utf8.ValidString(said) || !strings.Contains(said, "bytes more") {
		t.Errorf("an error of %d bytes: %s", len(said), said)
	}
	rep.fail("quic", "connecting", core.ErrDisconnected)
	if said := rep.Failures[1].Error; said != core.ErrDisconnected.Error() {
		t.Errorf("a short error became %s", said)
	}
}
