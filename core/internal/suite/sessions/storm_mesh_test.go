package sessions_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// dialCount counts the dials that a node begins in each second.
type dialCount struct {
	transport.Transport
	began time.Time

	mu     sync.Mutex
	second map[int]int
}

func (d *dialCount) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	d.mu.Lock()
	d.second[int(time.Since(d.began)/time.Second)]++
	d.mu.Unlock()
	return d.Transport.Dial(ctx, to)
}

// TestMeshAfterAnOutage cuts every link of a cluster and keeps every two nodes
// apart, for half a minute among 60 nodes or, in the long form, for five minutes
// among 300. When it is over every pair is connected within five seconds, and
// after the first ten seconds no node began more than 300 dials in a second (F13,
// T24, I10).
func TestMeshAfterAnOutage(t *testing.T) {
	nodes, outage := lab.Scale(60, 30, 300), 30*time.Second
	if lab.Heavy() {
		outage = 5 * time.Minute
	}
	synctest.Test(t, func(t *testing.T) {
		counts := make([]*dialCount, nodes)
		c := lab.InmemLink().Cluster(t, nodes, coretest.WithConfig(func(i int, cfg *core.Config) {
			counts[i] = &dialCount{Transport: cfg.Transport, second: map[int]int{}}
			cfg.Transport = counts[i]
		}))
		time.Sleep(time.Minute)
		n := c.Memory()
		began := time.Now()
		for _, d := range counts {
			d.mu.Lock()
			d.began = began
			clear(d.second)
			d.mu.Unlock()
		}
		for i := range nodes {
			for j := range i {
				n.Partition(c.Node(i).Name, c.Node(j).Name)
				c.Cut(i, j)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Fatalf("the outage took %v to begin", d)
		}
		goroutines := lab.Goroutines()
		time.Sleep(outage)
		if after := lab.Goroutines(); after > 3*nodes*nodes+goroutines {
			t.Errorf("during the outage the goroutines became %d from %d", after, goroutines)
		}
		n.HealAll()
		healed := time.Now()
		for i := range nodes {
			if err := c.Manager(i).WaitConnected(t.Context()); err != nil {
				t.Fatalf("node %d: %v", i, err)
			}
		}
		if d := time.Since(healed); d > 5*time.Second {
			t.Errorf("every pair was connected %v after the heal, want within 5s", d)
		}
		time.Sleep(5 * time.Second)
		most, total := 0, 0
		for i, d := range counts {
			d.mu.Lock()
			for second, n := range d.second {
				total += n
				if second >= 10 {
					most = max(most, n)
				}
				if second >= 10 && n > 300 {
					t.Errorf("node %d began %d dials in second %d", i, n, second)
				}
			}
			d.mu.Unlock()
		}
		t.Logf("%d nodes, %v: %d dials, at most %d of a node in a second after the first ten; all pairs connected %v after the heal",
			nodes, outage, total, most, healed.Sub(began)-outage)
		for i := range nodes {
			lab.MustCall(t, c.Conn(i, (i+1)%nodes), "echo", nil)
		}
	})
}

// names resolves the names of nodes for those that dial them.
type names struct {
	network *memnet.Network

	mu      sync.Mutex
	to      map[string]string
	lookups int
}

func (s *names) set(name, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to[name] = addr
}

func (s *names) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookups
}

func (s *names) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.lookups++
	target, ok := s.to[host]
	s.mu.Unlock()
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return s.network.DialContext(ctx, network, target)
}

// TestNamesAreResolvedAnew moves the listener of a node to one port after
// another while its name stays. Every dial looks the name up, so the node is
// found again each time (F36).
func TestNamesAreResolvedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{network: new(memnet.Network), to: map[string]string{}}
		peers := []core.Node{{Name: "fixed", Addr: "fixed.example:80"}, {Name: "moving", Addr: "moving.example:80"}}
		run := func(i, port int) *core.Manager {
			t.Helper()
			ln, err := dns.network.Listen(fmt.Sprintf("192.0.2.%d:%d", i, port))
			if err != nil {
				t.Fatal(err)
			}
			dns.set(peers[i].Name+".example", ln.Addr().String())
			m, err := core.NewManager(core.Config{
				Local: peers[i], Peers: peers, AllowInsecure: true,
				Transport: websocket.New(websocket.Options{DialContext: dns.dial, Listener: ln}),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return m
		}
		fixed := run(0, 1000)
		defer fixed.Close()
		for port := range 10 {
			before := dns.asked()
			moving := run(1, 2000+port)
			began := time.Now()
			if err := fixed.WaitConnected(t.Context()); err != nil {
				t.Fatalf("a node whose name leads to port %d is not found: %v", 2000+port, err)
			}
			if d := time.Since(began); d > 4*time.Second {
				t.Errorf("port %d was found after %v", 2000+port, d)
			}
			time.Sleep(time.Duration(port) * 3 * time.Second)
			moving.Close()
			time.Sleep(time.Duration(port) * time.Second)
			if dns.asked() == before {
				t.Errorf("in round %d no name was looked up", port)
			}
		}
	})
}
