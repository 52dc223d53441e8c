package intercept_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// tell answers with what came with the call, and with what came with a call of its
// own to the next node.
func tell(ctx context.Context, _ []byte) ([]byte, error) {
	return fmt.Appendf(nil, "a=%s b=%s", core.MetadataFromContext(ctx, "a"), core.MetadataFromContext(ctx, "b")), nil
}

func tellers() coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error {
		return errors.Join(
			m.Handle("tell", tell),
			m.Handle("inline", tell, core.WithInline()),
			m.HandleStreamFunc("stream", func(ctx context.Context, payload []byte, s *core.RawStream) error {
				told, err := tell(ctx, payload)
				return errors.Join(err, s.Send(told))
			}),
			m.Handle("pass", func(ctx context.Context, req []byte) ([]byte, error) {
				return m.Connection("node-0").Request(ctx, "tell", req)
			}),
		)
	})
}

// streamed opens a stream and returns its one message.
func streamed(ctx context.Context, c core.Caller, payload []byte, opts ...core.CallOption) (string, error) {
	st, err := c.OpenStream(ctx, "stream", payload, opts...)
	if err != nil {
		return "", err
	}
	msg, err := st.Recv(nil)
	return string(msg), errors.Join(err, st.Close())
}

// TestMetadata sends pairs with calls of every kind and size: the handler finds
// them, the last of each key, and nothing that is not of this call.
func TestMetadata(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, tellers())
		conn := c.Conn(0, 1)
		with := core.WithMetadata(core.WithMetadata(core.WithMetadata(t.Context(), "b", "old"), "a", "ä 1"), "b", strings.Repeat("x", 3000))
		want := "a=ä 1 b=" + strings.Repeat("x", 3000)
		for _, size := range []int{0, 100, 32 << 10, 100_000} {
			req := lab.Pattern(1, size)
			for _, prio := range []core.Priority{core.PriorityNormal, core.PriorityHigh, core.PriorityLow} {
				for _, h := range []core.HandlerID{"tell", "inline"} {
					if got := lab.MustCall(t, conn, h, req, core.WithPriority(prio)); string(got) != "a= b=" {
						t.Errorf("%s with %d bytes and without metadata found %q", h, size, got)
					}
					got, err := conn.Request(with, h, req, core.WithPriority(prio))
					if err != nil || string(got) != want {
						t.Errorf("%s with %d bytes found %.50q, %v, want %.50q", h, size, got, err, want)
					}
				}
				if got, err := streamed(with, conn, req, core.WithPriority(prio)); err != nil || got != want {
					t.Errorf("a stream with %d bytes found %.50q, %v, want %.50q", size, got, err, want)
				}
			}
		}
		for i := range 2 {
			if got, err := c.Conn(i, i).Request(with, "tell", nil); err != nil || string(got) != want {
				t.Errorf("over the loopback: %.50q, %v, want %.50q", got, err, want)
			}
		}
		// It does not go on by itself.
		if got, err := conn.Request(with, "pass", nil); err != nil || string(got) != "a= b=" {
			t.Errorf("a call that a handler made carried %q, %v, want nothing", got, err)
		}
		if got := core.MetadataFromContext(with, "a"); got != "" {
			t.Errorf("outside a handler there is %q", got)
		}
	})
}

// TestMetadataThatCannotTravel holds that a call with too much of it, or with an
// empty key, is not sent.
func TestMetadataThatCannotTravel(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, tellers())
		conn := c.Conn(0, 1)
		long := core.WithMetadata(t.Context(), "a", strings.Repeat("x", 4096))
		unnamed := core.WithMetadata(core.WithMetadata(t.Context(), "", "x"), "a", "1")
		for _, call := range []func(ctx context.Context) error{
			func(ctx context.Context) error { _, err := conn.Request(ctx, "tell", nil); return err },
			func(ctx context.Context) error { _, err := streamed(ctx, conn, nil); return err },
			func(ctx context.Context) error { _, err := conn.NewStream(ctx, "stream", nil); return err },
		} {
			err := call(long)
			lab.WantFailure(t, "with 4 KiB and more", err, core.ErrMessageTooLarge, core.OutcomeNotSent)
			lab.WantText(t, "with 4 KiB and more", err, "metadata", "4096")
			err = call(unnamed)
			if core.OutcomeOf(err) != core.OutcomeNotSent {
				t.Errorf("with an empty key: %v", err)
			}
			lab.WantText(t, "with an empty key", err, "the key is empty")
			//nolint:staticcheck // A nil context is what is tested.
			lab.WantText(t, "without a context", call(core.WithMetadata(nil, "a", "1")), "context is nil")
		}
	})
}
