package threats_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/websocket"
)

// fadingConn carries so many bytes in a direction and nothing more, without an
// end that anybody would notice.
type fadingConn struct {
	net.Conn
	reads, writes int  // that are left; negative: any number
	hole          bool // the other end does not hear of Close either
	once          sync.Once
	closed        chan struct{}
	over          func()
}

func (c *fadingConn) Read(p []byte) (int, error) {
	if c.reads == 0 {
		<-c.closed
		return 0, net.ErrClosed
	}
	if c.reads > 0 && len(p) > c.reads {
		p = p[:c.reads]
	}
	n, err := c.Conn.Read(p)
	if c.reads > 0 {
		c.reads -= n
	}
	return n, err
}

func (c *fadingConn) Write(p []byte) (int, error) {
	carried := p
	if c.writes >= 0 && len(p) > c.writes {
		carried = p[:c.writes]
	}
	if n, err := c.Conn.Write(carried); err != nil {
		return n, err
	}
	if c.writes >= 0 {
		c.writes -= len(carried)
	}
	return len(p), nil
}

func (c *fadingConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		if !c.hole {
			c.Conn.Close()
		}
		c.over()
	})
	return nil
}

// lifetimes counts connections and remembers the longest life.
type lifetimes struct {
	mu                     sync.Mutex
	open, most, total      int
	longest                time.Duration
	goroutinesAt, baseline int // seen at the 50th connection, and the most since
}

// begin returns what to call at the end.
func (l *lifetimes) begin() (over func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	l.total++
	l.most = max(l.most, l.open)
	switch n := runtime.NumGoroutine(); {
	case l.total == 50:
		l.baseline = n
	case l.total > 50:
		l.goroutinesAt = max(l.goroutinesAt, n)
	}
	began := time.Now()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
		l.longest = max(l.longest, time.Since(began))
	}
}

// countedListener tells of the lives of what it accepts.
type countedListener struct {
	net.Listener
	lives *lifetimes
}

func (l countedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &fadingConn{Conn: nc, reads: -1, writes: -1, closed: make(chan struct{}), over: l.lives.begin()}, nil
}

// TestSilenceAtEachByte has the other side fall silent after each byte of the
// upgrade and of the handshake in turn: the acceptor, which a dialler waits
// for, and the dialler, which an acceptor waits for and which is not even heard
// to leave. Each time the connection is ended within its one time limit, and
// over all these attempts neither connections, nor goroutines, nor lines of
// the log become more (T3, F3, D11).
func TestSilenceAtEachByte(t *testing.T) {
	for i := range 4 {
		// The second limit is also the one of the transport before the upgrade.
		dialler, limit := i%2 == 0, []time.Duration{time.Second, 5 * time.Second}[i/2]
		t.Run(fmt.Sprintf("the dialler falls silent: %v, %v", dialler, limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network memnet.Network
				var dialled, accepted lifetimes
				var left []net.Conn // by diallers that fell silent
				names := [2]string{"a", "b"}
				if !lab.Dials("a", "b") {
					names = [2]string{"b", "a"}
				}
				var books [2]lab.LogBook
				var nodes [2]*core.Manager
				var changes [2]atomic.Int32
				for i := 1; i >= 0; i-- {
					ln, err := network.Listen(names[i] + ":80")
					if err != nil {
						t.Fatal(err)
					}
					m, err := core.NewManager(core.Config{
						Local: core.Node{Name: names[i], Addr: names[i] + ":80"}, Peers: []core.Node{{Name: names[1-i], Addr: names[1-i] + ":80"}},
						Auth: core.SharedKey(testKey), Logger: books[i].Logger(), ConnectTimeout: limit, MaxBackoff: [2]time.Duration{time.Millisecond, 0}[i],
						OnState: func(core.StateChange) { changes[i].Add(1) },
						Transport: websocket.New(websocket.Options{
							Listener: countedListener{ln, &accepted},
							DialContext: func(ctx context.Context, nw, addr string) (net.Conn, error) {
								if i == 1 {
									return nil, net.ErrClosed
								}
								nc, err := network.DialContext(ctx, nw, addr)
								if err != nil {
									return nil, err
								}
								c := &fadingConn{Conn: nc, reads: -1, writes: -1, closed: make(chan struct{}), over: dialled.begin()}
								if dialler {
									left = append(left, nc)
									c.writes, c.hole = dialled.total-1, true
								} else {
									c.reads = dialled.total - 1
								}
								return c, nil
							},
						}),
					})
					if err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					if err := m.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					nodes[i] = m
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := nodes[0].WaitConnected(ctx); err != nil {
					t.Fatalf("the nodes do not connect once everything gets through: %v", err)
				}
				nodes[0].Close()
				for _, c := range left {
					c.Close()
				}
				nodes[1].Close()
				synctest.Wait()
				if dialled.total < 400 || dialled.most > 1 || dialled.longest > limit || dialled.open != 0 {
					t.Errorf("the dialler made %d connections, %d at once, the longest for %v, and left %d; want one for each byte, one at a time, for %v at most",
						dialled.total, dialled.most, dialled.longest, dialled.open, limit)
				}
				// Before the upgrade the transport has a limit of its own, of 5 s.
				if accepted.most > 7 || accepted.longest > max(limit, 5*time.Second)+limit || accepted.open != 0 {
					t.Errorf("the acceptor had %d connections at once, the longest for %v, and has left %d", accepted.most, accepted.longest, accepted.open)
				}
				// Timers that are due at once may all run at once, so that there are some dozens
				// more for a moment; attempts are hundreds.
				if dialled.goroutinesAt > dialled.baseline+dialled.total/4 {
					t.Errorf("%d goroutines after 50 attempts, %d later, in %d attempts", dialled.baseline, dialled.goroutinesAt, dialled.total)
				}
				for i := range books {
					most := int(changes[i].Load()) + int(time.Duration(dialled.total)*limit/time.Minute) + 3
					if n := books[i].Lines(); n > most || i == 0 && n > 4 {
						t.Errorf("node %d wrote %d lines in %d attempts with %d changes of state, want one for each change and one a minute:\n%.2000s",
							i, n, dialled.total, changes[i].Load(), &books[i])
					}
				}
			})
		})
	}
}

// TestStrangersKeepNobodyOut opens thousands of connections that say nothing,
// from one host and from many. A node that has the key connects at once all the
// same, again and again (T3, T24).
func TestStrangersKeepNobodyOut(t *testing.T) {
	for _, hosts := range []int{1, 200} {
		lab.RawTest(t, fmt.Sprint(hosts, " hosts"), lab.RawSetup{Auth: identityKinds[0].auth}, func(t *testing.T, r *lab.RawCluster) {
			var strangers []*lab.RawPeer
			before := runtime.NumGoroutine()
			for i := range 2000 {
				strangers = append(strangers, r.DialFrom(fmt.Sprint("stranger-", i%hosts)))
				if i%5 == 0 {
					strangers[i].Write(lab.RawInit(1, 1))
				}
				if i%500 == 499 {
					began, p := time.Now(), r.Dial()
					handshakeAs(p, identityKinds[0].of(r.Name))
					p.WantLife(0, "a node that has the key, among strangers")
					if took := time.Since(began); took > 0 {
						t.Errorf("a node that has the key waited %v for %d strangers", took, i)
					}
					p.Conn.CloseWithError(0, "")
				}
			}
			synctest.Wait()
			living := 0
			for _, p := range strangers {
				if p.Ended() == nil {
					living++
				}
			}
			// Each has a reader of the test's own, and one of the subject.
			if living < 250 || living > 256 || runtime.NumGoroutine() > before+3*256+50 {
				t.Errorf("of 2000 strangers %d are held, %d goroutines; want 256", living, runtime.NumGoroutine()-before)
			}
			r.Alive("among strangers")
		})
	}
}

// TestManyJoinAtOnce is the twin: more honest nodes than there are places for
// strangers connect to one at the same moment, over a slow link, and are all
// there soon (T3, T24).
func TestManyJoinAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spokes = 400
		network := inmem.NewNetwork()
		network.SetLatency(50 * time.Millisecond)
		hub := core.Node{Name: "hub", Addr: "hub"}
		all := []core.Node{hub}
		for i := range spokes {
			name := fmt.Sprint("spoke-", i)
			all = append(all, core.Node{Name: name, Addr: name})
		}
		start := func(own core.Node, peers []core.Node) *core.Manager {
			m, err := core.NewManager(core.Config{Local: own, Peers: peers, Transport: network.Node(own.Name), Auth: core.SharedKey(testKey)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { m.Close() })
			if err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return m
		}
		m := start(hub, all)
		for _, own := range all[1:] {
			start(own, all[:1])
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := m.WaitConnected(ctx); err != nil {
			t.Errorf("%d nodes that join at once are not all there after 5s: %.1000v", spokes, err)
		}
	})
}
