package payload_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/payload"
)

// All types go through all kinds of methods, and without their pointers named.
var (
	_ = core.NewUnary[payload.Strings, disks]("unary")
	_ = core.NewServerStream[payload.None, payload.Bytes]("server-stream")
	_ = core.NewBidi[payload.None, payload.JSON[config], payload.Values]("bidi")
)

// throughTheEdge holds that values arrive as they were in a request, a response
// and the messages of a stream, and that a request of another type, or a hostile
// one, is refused.
func throughTheEdge[T any, M message[T]](t *testing.T, values ...T) {
	t.Helper()
	echo := core.NewUnary[T, T, M, M]("echo")
	twice := core.NewServerStream[T, T, M, M]("twice")
	cluster := coretest.NewCluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
		return errors.Join(
			echo.Handle(m, func(_ context.Context, req *T) (*T, error) { return req, nil }),
			twice.Handle(m, func(_ context.Context, req *T, send func(*T) error) error {
				return errors.Join(send(req), send(req))
			}),
		)
	}))
	conn := cluster.Conn(0, 1)
	for _, value := range values {
		if got, err := echo.Call(t.Context(), conn, &value); err != nil || !reflect.DeepEqual(*got, value) {
			t.Errorf("%#v came back as %#v, %v", value, got, err)
		}
		n := 0
		for got, err := range twice.Call(t.Context(), conn, &value) {
			if n++; err != nil || !reflect.DeepEqual(*got, value) {
				t.Errorf("message %d: %#v came back as %#v, %v", n, value, got, err)
			}
		}
		if n != 2 {
			t.Errorf("%#v: %d messages", value, n)
		}
	}
	for _, hostile := range []string{
		"", "\xc1", "\xdd\xff\xff\xff\xff1234567", "\xdf\xff\xff\xff\xff1234567", "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff",
		strings.Repeat("\x91", 10_000) + "\xc0", strings.Repeat("\x81\xa0", 10_000) + "\xc0", "\xc0\xc0",
	} {
		_, err := conn.Request(t.Context(), echo.ID(), []byte(hostile))
		if !errors.Is(err, core.ErrMalformedMessage) || core.OutcomeOf(err) != core.OutcomeRefused {
			t.Errorf("%T: %.20q: %v, want ErrMalformedMessage, refused", *new(T), hostile, err)
		}
	}
}

// TestEdge holds that every type goes through the typed edge.
func TestEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throughTheEdge(t, payload.Bytes(nil), payload.Bytes{}, bytes.Repeat([]byte("x"), 100_000))
		throughTheEdge(t, payload.Strings(nil), payload.Strings{}, payload.Strings{"a": "b"})
		throughTheEdge(t, payload.Values(nil), payload.Values{}, payload.Values{"a": nil, "b": {}, "c": {"1", "2"}})
		throughTheEdge(t, payload.None{})
		throughTheEdge(t, payload.JSON[config]{Value: config{Name: strings.Repeat("n", 5000)}})
		throughTheEdge(t, disks(nil), disks{}, disks{{"a": "b"}, nil})
	})
}
