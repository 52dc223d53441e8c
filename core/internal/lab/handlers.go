package lab

import (
	"context"
	"errors"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// RegisterEchoes registers three handlers that return what they get: echo,
// echo.append and echo.inline.
func RegisterEchoes(m *core.Manager) error {
	return errors.Join(
		m.Handle("echo", Echo),
		m.HandleAppend("echo.append", EchoAppend),
		m.HandleAppend("echo.inline", EchoAppend, core.WithInline()),
	)
}

// Echo is a handler that returns its request.
func Echo(_ context.Context, req []byte) ([]byte, error) { return req, nil }

// EchoAppend is Echo for HandleAppend.
func EchoAppend(_ context.Context, req, dst []byte) ([]byte, error) { return append(dst, req...), nil }

// EchoStream is a handler of streams that sends back its payload and all that it gets.
func EchoStream(_ context.Context, payload []byte, s *core.RawStream) error {
	if err := s.Send(payload); err != nil {
		return err
	}
	for msg, err := range s.All() {
		if err == nil {
			err = s.Send(msg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Handle registers one more handler on all nodes.
func Handle(id core.HandlerID, fn core.HandlerFunc, opts ...core.HandlerOption) coretest.Option {
	return coretest.WithHandlers(func(_ int, m *core.Manager) error { return m.Handle(id, fn, opts...) })
}

// Configure adjusts the configuration of all nodes.
func Configure(f func(cfg *core.Config)) coretest.Option {
	return coretest.WithConfig(func(_ int, cfg *core.Config) { f(cfg) })
}

// Impatient makes nodes dial again at once, for tests in real time.
func Impatient() coretest.Option {
	return Configure(func(cfg *core.Config) { cfg.MaxBackoff = time.Millisecond })
}
