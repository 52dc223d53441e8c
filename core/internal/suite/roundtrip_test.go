package suite_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

func TestRequestsBothWays(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 3)
		for from := range c.Len() {
			for to := range c.Len() { // itself included
				conn := c.Conn(from, to)
				for _, h := range []core.HandlerID{"echo", "echo.append", "echo.inline"} {
					req := fmt.Appendf(nil, "%d to %d by %s", from, to, h)
					if resp := lab.MustCall(t, conn, h, req); !bytes.Equal(resp, req) {
						t.Errorf("a call from node %d to node %d returned %q, want %q", from, to, resp, req)
					}
					got, err := conn.AppendRequest(t.Context(), h, req, []byte("before "))
					if err != nil || string(got) != "before "+string(req) {
						t.Errorf("AppendRequest from node %d to node %d returned %q, %v, want the response behind what was there", from, to, got, err)
					}
				}
			}
		}
	})
}

// TestNestedCalls has a handler call the node that called it, and so on.
func TestNestedCalls(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var c *lab.Cluster
		down := func(i int) core.HandlerFunc {
			return func(ctx context.Context, req []byte) ([]byte, error) {
				depth, err := strconv.Atoi(string(req))
				if err != nil || depth == 0 {
					return []byte("bottom"), err
				}
				// The context of the handler goes with the nested call.
				return c.Conn(i, 1-i).Request(ctx, "down", strconv.AppendInt(nil, int64(depth-1), 10))
			}
		}
		c = l.Cluster(t, 2, coretest.WithHandlers(func(i int, m *core.Manager) error { return m.Handle("down", down(i)) }))
		for _, depth := range []string{"1", "2", "50"} {
			if resp := lab.MustCall(t, c.Conn(0, 1), "down", []byte(depth)); string(resp) != "bottom" {
				t.Errorf("a call that is nested %s times returned %q, want %q", depth, resp, "bottom")
			}
		}
	})
}

// TestLoopback holds that the local node is called like any other.
func TestLoopback(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, lab.Handle("block", g.HandleContext), lab.Handle("who", func(ctx context.Context, _ []byte) ([]byte, error) {
			return []byte(core.PeerFromContext(ctx)), nil
		}))
		self := c.Conn(0, 0)
		if self.State() != core.StateConnected || self.Peer() != "node-0" {
			t.Errorf("the connection to the local node is %v with %q, want it connected with node-0", self.State(), self.Peer())
		}
		if err := self.WaitConnected(t.Context()); err != nil {
			t.Errorf("waiting for the local node failed: %v", err)
		}
		if who := lab.MustCall(t, self, "who", nil); string(who) != "node-0" {
			t.Errorf("a handler that the node calls itself sees the caller %q, want node-0", who)
		}
		big := lab.Pattern(1, 1<<20)
		if resp := lab.MustCall(t, self, "echo", big); !bytes.Equal(resp, big) {
			t.Errorf("a message of 1 MiB to the local node came back with %d bytes, or changed", len(resp))
		}
		req := []byte("mine")
		resp := lab.MustCall(t, self, "echo", req)
		if req[0] = 'x'; string(resp) != "mine" {
			t.Errorf("the response %q of the local node shares memory with the request", resp)
		}
		_, err := self.Request(t.Context(), "nobody", nil)
		lab.WantFailure(t, "a call to a handler that the local node does not have", err, core.ErrUnknownHandler, core.OutcomeRefused)

		ctx, cancel := context.WithCancel(t.Context())
		called := lab.GoCall(ctx, self, "block", nil)
		inside := lab.Wait(t, g.Began, "the handler begins")
		cancel()
		r := lab.Wait(t, called, "a call to the local node ends with its context")
		lab.WantFailure(t, "a cancelled call to the local node", r.Err, context.Canceled, core.OutcomeMaybeRun)
		lab.Wait(t, inside.Done(), "the cancellation reaches the handler of the local node")
	})
}

// TestRoutes calls one handler id on several routes, nested and not: each reaches
// its own handler, and what merely resembles a route reaches none (T28).
func TestRoutes(t *testing.T) {
	route := func(ctx context.Context, req []byte) ([]byte, error) {
		return append([]byte(core.RouteFromContext(ctx)+":"), req...), nil
	}
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2,
			lab.Handle("route", route),
			lab.Handle("route", route, core.WithRoute("disk1")),
			lab.Handle("route", route, core.WithRoute("disk1/part2")),
			lab.Handle("route", route, core.WithRoute("/")),
		)
		conn := c.Conn(0, 1)
		for _, test := range []struct {
			on   core.Caller
			want string
		}{
			{conn, ":x"},
			{conn.Route(""), ":x"},
			{conn.Route("disk1"), "disk1:x"},
			{conn.Route("disk1").Route("part2"), "disk1/part2:x"},
			{conn.Route("disk1/part2"), "disk1/part2:x"},
			{conn.Route("").Route("disk1"), "disk1:x"},
			{conn.Route("/"), "/:x"},
		} {
			resp, err := test.on.Request(t.Context(), "route", []byte("x"))
			if err != nil || string(resp) != test.want {
				t.Errorf("a call on the route of %q returned %q, %v", test.want, resp, err)
			}
			resp, err = test.on.AppendRequest(t.Context(), "route", []byte("x"), []byte(">"))
			if err != nil || string(resp) != ">"+test.want {
				t.Errorf("an appended call on the route of %q returned %q, %v", test.want, resp, err)
			}
		}
		if name := conn.Route("disk1").Route("part2").Name(); name != "disk1/part2" {
			t.Errorf("a nested route is called %q, want disk1/part2", name)
		}
		// Routes are compared byte by byte.
		for _, odd := range []string{"disk2", "disk1/", "/disk1", "DISK1", "disk1\x00", "disk1/../disk1", "disk1//part2"} {
			_, err := conn.Route(odd).Request(t.Context(), "route", nil)
			lab.WantFailure(t, fmt.Sprintf("a call on the route %q", odd), err, core.ErrUnknownHandler, core.OutcomeRefused)
		}
		_, err := conn.Route("disk1").Request(t.Context(), "echo", nil)
		lab.WantFailure(t, "a call on a route that the handler does not have", err, core.ErrUnknownHandler, core.OutcomeRefused)
	})
}

// TestNilAndEmpty holds that nil and empty are told apart in both directions
// and for every form of handler and call.
func TestNilAndEmpty(t *testing.T) {
	kind := func(b []byte) string {
		switch {
		case b == nil:
			return "nil"
		case len(b) == 0:
			return "empty"
		default:
			return "full"
		}
	}
	value := map[string][]byte{"nil": nil, "empty": {}, "full": []byte("x")}
	saw := make(chan string, 1)
	give := func(what string) coretest.Option {
		return coretest.WithHandlers(func(_ int, m *core.Manager) error {
			fn := func(_ context.Context, req []byte) ([]byte, error) {
				saw <- kind(req)
				return value[what], nil
			}
			app := func(_ context.Context, req, dst []byte) ([]byte, error) {
				saw <- kind(req)
				if what == "nil" {
					return nil, nil
				}
				return append(dst, value[what]...), nil
			}
			for id, err := range map[core.HandlerID]error{
				"handle":        m.Handle(core.HandlerID("handle."+what), fn),
				"handle inline": m.Handle(core.HandlerID("handle.inline."+what), fn, core.WithInline()),
				"append":        m.HandleAppend(core.HandlerID("append."+what), app),
				"append inline": m.HandleAppend(core.HandlerID("append.inline."+what), app, core.WithInline()),
			} {
				if err != nil {
					return fmt.Errorf("%s: %w", id, err)
				}
			}
			return nil
		})
	}
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		saw = make(chan string, 1)
		c := l.Cluster(t, 2, give("nil"), give("empty"), give("full"))
		for _, to := range []int{1, 0} {
			for _, form := range []string{"handle.", "handle.inline.", "append.", "append.inline."} {
				for sent := range value {
					for returned := range value {
						checkNil(t, c.Conn(0, to), core.HandlerID(form+returned), value[sent], value[returned], func() {
							if got := lab.Wait(t, saw, "the handler is called"); got != sent {
								t.Errorf("%s%s: the handler got a request that is %s, sent was one that is %s", form, returned, got, sent)
							}
						})
					}
				}
			}
		}
	})
}

func checkNil(t *testing.T, conn *core.Connection, h core.HandlerID, req, want []byte, check func()) {
	t.Helper()
	resp, err := conn.Request(t.Context(), h, req)
	check()
	if err != nil || !bytes.Equal(resp, want) || (resp == nil) != (want == nil) {
		t.Errorf("%s: Request returned %#v, %v, want %#v", h, resp, err, want)
	}
	for _, dst := range [][]byte{nil, {}, []byte("dst"), make([]byte, 3, 100)} {
		resp, err := conn.AppendRequest(t.Context(), h, req, dst)
		check()
		if err != nil || !bytes.Equal(resp, append(bytes.Clone(dst), want...)) {
			t.Errorf("%s: AppendRequest to %q returned %q, %v, want %q behind it", h, dst, resp, err, want)
		}
		if isNil := dst == nil && want == nil; (resp == nil) != isNil {
			t.Errorf("%s: AppendRequest to %#v returned %#v for the response %#v", h, dst, resp, want)
		}
	}
}

// TestMessagesAreCopied holds that nothing that a caller or a handler passes in
// is looked at after the call has returned.
func TestMessagesAreCopied(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		shared := make([]byte, 64)
		c := l.Cluster(t, 2, lab.Handle("shared", func(_ context.Context, req []byte) ([]byte, error) {
			copy(shared, req)
			return shared[:len(req)], nil
		}))
		req := make([]byte, 64)
		for i := range 200 {
			copy(req, lab.Pattern(i, len(req)))
			resp := lab.MustCall(t, c.Conn(0, 1), "shared", req)
			clear(req)
			if !bytes.Equal(resp, lab.Pattern(i, len(req))) {
				t.Fatalf("call %d returned the bytes of another call", i)
			}
		}
	})
}
