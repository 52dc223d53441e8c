package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/websocket"
)

// service is three nodes, each with its own Usage. Any of them can be a client of
// any other, and of itself.
type service struct {
	*coretest.Cluster

	nodes [3]*Node
	usage [3]Usage
}

func newService(t *testing.T, opts ...coretest.Option) *service {
	t.Helper()
	s := &service{}
	var names [3]string
	s.Cluster = coretest.NewCluster(t, len(s.nodes), append(opts,
		coretest.WithConfig(func(i int, cfg *core.Config) {
			names[i] = cfg.Local.Name
			cfg.Intercept = append(cfg.Intercept, s.usage[i].Intercept)
		}),
		coretest.WithHandlers(func(i int, m *core.Manager) (err error) {
			s.nodes[i], err = NewNode(m)
			return err
		}))...)
	return s
}

// follow lets all nodes follow each other until the test ends.
func (s *service) follow(t *testing.T) {
	t.Helper()
	var following sync.WaitGroup
	t.Cleanup(following.Wait)
	for _, n := range s.nodes {
		following.Go(func() { n.Follow(t.Context()) })
	}
}

// put makes a client on node from write a value through node to.
func (s *service) put(ctx context.Context, from, to int, key, value string) error {
	_, err := Put.Call(ctx, s.Conn(from, to), &PutRequest{Key: key, Value: []byte(value)})
	return err
}

// get makes a client on node from read through node to.
func (s *service) get(ctx context.Context, from, to int, key string) (string, error) {
	entry, err := Get.Call(ctx, s.Conn(from, to), &GetRequest{Key: key})
	if err != nil {
		return "", err
	}
	return string(entry.Value), nil
}

// watched returns the next change that a Watch brings.
func watched(t *testing.T, next func() (*Entry, error, bool)) string {
	t.Helper()
	entry, err, ok := next()
	if err != nil || !ok {
		t.Fatalf("the watch has ended: %v", err)
	}
	return fmt.Sprintf("%s=%s", entry.Key, entry.Value)
}

// overTCP is websocket on ports that nobody else has.
func overTCP(t *testing.T) coretest.Option {
	t.Helper()
	return coretest.WithTransport(func(int, string) (transport.Transport, string) {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return websocket.New(websocket.Options{Listener: ln}), ln.Addr().String()
	})
}

// TestService uses the service as its clients do, over both transports: whatever
// was written through one node is read through any, errors are told apart, and a
// watch brings what is there and then what changes.
func TestService(t *testing.T) {
	for name, transport := range map[string]coretest.Option{
		"inmem":     coretest.WithNetwork(inmem.NewNetwork()),
		"websocket": overTCP(t),
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, transport)
			s.follow(t)
			ctx := WithTenant(t.Context(), "shop")
			for to := range s.Len() {
				value := fmt.Sprint("written through ", to)
				if err := s.put(ctx, 0, to, "fruit/apple", value); err != nil {
					t.Fatal(err)
				}
				for from := range s.Len() {
					if got, err := s.get(ctx, 1, from, "fruit/apple"); err != nil || got != value {
						t.Errorf("read %q, %v through %d, want %q", got, err, from, value)
					}
				}
			}

			if _, err := s.get(ctx, 0, 1, "fruit/pear"); !errors.Is(err, ErrNoKey) {
				t.Errorf("a key that is not there: %v, want ErrNoKey", err)
			}
			if err := s.put(ctx, 0, 1, "", "x"); !errors.Is(err, ErrBadKey) {
				t.Errorf("a key that is empty: %v, want ErrBadKey", err)
			}
			err := s.put(ctx, 0, 1, "fruit/melon", string(make([]byte, 64<<10+1)))
			if !errors.Is(err, core.ErrMalformedMessage) || !Repeatable(err) {
				t.Errorf("a value over the limit: %v, want ErrMalformedMessage, and that nothing was written", err)
			}

			next, stop := iter.Pull2(Watch.Call(t.Context(), s.Conn(0, 2), &WatchRequest{Prefix: "fruit/"}))
			defer stop()
			if got := watched(t, next); got != "fruit/apple=written through 2" {
				t.Errorf("a watch begins with %q, want what is there", got)
			}
			if err := errors.Join(s.put(ctx, 0, 1, "nut", "brown"), s.put(ctx, 0, 1, "fruit/plum", "blue")); err != nil {
				t.Fatal(err)
			}
			if got := watched(t, next); got != "fruit/plum=blue" {
				t.Errorf("the watch brings %q, want the change of the prefix", got)
			}

			if got := s.usage[1].Of("shop"); got != 9 {
				t.Errorf("node 1 has counted %d calls for the shop, want 9, and none between the nodes", got)
			}
		})
	}
}

// TestSingleNode holds that a node without peers is its own majority.
func TestSingleNode(t *testing.T) {
	c := coretest.NewCluster(t, 1, coretest.WithHandlers(func(_ int, m *core.Manager) error {
		_, err := NewNode(m)
		return err
	}))
	if _, err := Put.Call(t.Context(), c.Conn(0, 0), &PutRequest{Key: "k", Value: []byte("v")}); err != nil {
		t.Error(err)
	}
	if entry, err := Get.Call(t.Context(), c.Conn(0, 0), &GetRequest{Key: "k"}); err != nil || string(entry.Value) != "v" {
		t.Errorf("read %v, %v, want v", entry, err)
	}
}

// TestHostileMessages holds that no message can make a node panic or take memory.
func TestHostileMessages(t *testing.T) {
	coretest.HostileMessages(t, &GetRequest{Key: "k"})
	coretest.HostileMessages(t, &PutRequest{Key: "k", Value: []byte("v")})
	coretest.HostileMessages(t, &PutResponse{Version: 1})
	coretest.HostileMessages(t, &WatchRequest{Prefix: "p"})
	coretest.HostileMessages(t, &Entry{Key: "k", Value: []byte("v"), Version: 1, Writer: "a"})
}

// TestReplica holds that the newest entry stays, in whatever order they come, and
// that a watcher who is slow gets the last state of a key.
func TestReplica(t *testing.T) {
	r := newReplica()
	w := r.watch("k")
	for _, e := range []Entry{
		{Key: "k", Version: 2, Writer: "a"},
		{Key: "k", Version: 2, Writer: "b"},
		{Key: "k", Version: 1, Writer: "c"},
		{Key: "k", Version: 2, Writer: "a"},
		{Key: "other", Version: 7},
	} {
		r.apply(e)
	}
	if e := r.get("k"); e.Version != 2 || e.Writer != "b" {
		t.Errorf("the replica has %+v, want version 2 of b", e)
	}
	<-w.changed
	if got := r.take(w); len(got) != 1 || got[0].Writer != "b" {
		t.Errorf("the watcher gets %+v, want version 2 of b alone", got)
	}
	if v := r.nextVersion(3); v != 8 {
		t.Errorf("the next version is %d, want 8, above all that were seen", v)
	}
	r.unwatch(w)
	r.apply(Entry{Key: "k", Version: 9})
	if len(w.keys) != 0 {
		t.Error("a watcher that was ended is told of a change")
	}
}
