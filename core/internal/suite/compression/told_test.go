package compression_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestCallerOfMalformedMessagesIsTold expects a caller whose message cannot be restored
// to be told so (W33), whatever the handler makes of it, and not that somebody cancelled
// something.
func TestCallerOfMalformedMessagesIsTold(t *testing.T) {
	lab.Bubble(t, "", func(t *testing.T) {
		good := compress.S2()
		wrong := misbehaving{Codec: good, name: good.Name(), pack: func(dst, src []byte) []byte {
			return append(dst, make([]byte, len(src)/2)...)
		}}
		handlers := map[core.HandlerID]core.StreamHandler{
			"passes it on": {Handle: func(ctx context.Context, _ []byte, in <-chan []byte, _ chan<- []byte) error {
				for range in {
				}
				return context.Cause(ctx)
			}, InCapacity: 4},
			"ignores it": {Handle: func(_ context.Context, _ []byte, in <-chan []byte, _ chan<- []byte) error {
				for range in {
				}
				return nil
			}, InCapacity: 4},
		}
		raw := map[core.HandlerID]core.StreamFunc{
			"raw, passes it on": func(_ context.Context, _ []byte, s *core.RawStream) error {
				_, err := s.Recv(nil)
				return err
			},
			"raw, ignores it": func(_ context.Context, _ []byte, s *core.RawStream) error {
				_, _ = s.Recv(nil)
				return nil
			},
			"raw, returns what ctx says": func(ctx context.Context, _ []byte, s *core.RawStream) error {
				_, _ = s.Recv(nil)
				return ctx.Err()
			},
		}
		c := lab.InmemLink().Cluster(t, 2, coretest.WithConfig(func(_ int, cfg *core.Config) {
			cfg.Compressors = []core.Compressor{good}
		}), coretest.WithHandlers(func(_ int, m *core.Manager) error {
			var err error
			for id, h := range handlers {
				err = errors.Join(err, m.HandleStream(id, h))
			}
			for id, h := range raw {
				err = errors.Join(err, m.HandleStreamFunc(id, h))
			}
			return errors.Join(err, m.HandleStreamFunc("has an error of its own", func(_ context.Context, _ []byte, s *core.RawStream) error {
				_, _ = s.Recv(nil)
				return &core.RemoteError{Code: 1001, Message: "own"}
			}))
		}))
		end := func(id core.HandlerID) error {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), id, nil, core.WithRequestCompression(wrong))
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Send(text(1, 4000)); err != nil {
				t.Fatal(err)
			}
			_, err = st.Recv(nil)
			return err
		}
		for id := range handlers {
			if err := end(id); !errors.Is(err, core.ErrMalformedMessage) || errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", id, err)
			}
		}
		for id := range raw {
			if err := end(id); !errors.Is(err, core.ErrMalformedMessage) || errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", id, err)
			}
		}
		if remote, ok := errors.AsType[*core.RemoteError](end("has an error of its own")); !ok || remote.Code != 1001 {
			t.Errorf("the error of the handler's own is lost: %v", remote)
		}
	})
}
