package core

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gridmux/gridmux/transport"
)

// listen binds Config.Listen by all transports.
func (m *Manager) listen(ctx context.Context) (listeners []transport.Listener, err error) {
	defer func() {
		if err != nil {
			_ = closeAll(listeners)
		}
	}()
	certifies := false // one of them accepts nobody without a certificate
	for _, t := range m.transports {
		ln, err := t.Listen(ctx, m.cfg.Listen)
		if err != nil {
			return listeners, fmt.Errorf("listen on %q: %w", m.cfg.Listen, err)
		}
		listeners = append(listeners, ln)
		if info := ln.Info(); info.TLS || info.MutualTLS {
			m.encrypts.Store(true)
		}
		certifies = certifies || ln.Info().MutualTLS
	}
	for rank, ln := range listeners {
		if err := m.checkListener(ln.Info(), certifies); err != nil {
			where := strconv.Quote(m.cfg.Listen)
			if len(listeners) > 1 {
				where += fmt.Sprintf(" by transport %d of %d", rank+1, len(listeners))
			}
			return listeners, fmt.Errorf("listening on %s %w", where, err)
		}
	}
	return listeners, nil
}

// checkListener refuses a listener whose links would be refused, or would have to
// be: of several transports the weakest one counts, since whoever can block the
// others chooses it. certifies says that one of them asks for certificates.
func (m *Manager) checkListener(info transport.ListenerInfo, certifies bool) error {
	encrypted := info.TLS || info.MutualTLS
	switch {
	case m.cfg.AllowInsecure || info.Local:
		return nil
	case m.cfg.Auth == nil && !info.MutualTLS:
		return errBelievesAnybody
	case m.encrypts.Load() && !encrypted && !m.cfg.AllowTLSProxy:
		return errFallsBackToPlain
	case certifies && !info.MutualTLS && !m.cfg.AllowTLSProxy:
		return errFallsBackToNoCertificate
	}
	return nil
}

var (
	errBelievesAnybody = errors.New("would believe anybody who connects: set Config.Auth, use mutual TLS " +
		"(of which a mounted websocket knows with RequireClientCert alone), " +
		"or set Config.AllowInsecure where only members can reach the port")
	errFallsBackToPlain = errors.New("would let whoever blocks another transport read everything: that one speaks TLS and " +
		"this one does not promise to (a mounted websocket does with RequireClientCert); use TLS on all, " +
		"set Config.AllowTLSProxy where a proxy of yours adds it, " +
		"or set Config.AllowInsecure where nobody else sees the network")
	errFallsBackToNoCertificate = errors.New("would let whoever blocks another transport connect without a certificate: that one " +
		"asks for one and this one does not (a mounted websocket does with RequireClientCert); use mutual TLS on all, " +
		"set Config.AllowTLSProxy where a proxy of yours is in front, " +
		"or set Config.AllowInsecure where Config.Auth alone is enough")
)

func closeAll(listeners []transport.Listener) error {
	errs := make([]error, 0, len(listeners))
	for _, ln := range listeners {
		errs = append(errs, ln.Close())
	}
	return errors.Join(errs...)
}

// Addr is the address that the listener is bound to, with the port chosen if
// Config.Listen asked for any; "" before Start. Where there are several
// transports it is one address if they share it, else those of all in the order
// of preference, separated by commas.
func (m *Manager) Addr() string {
	if !m.made() {
		return ""
	}
	m.mu.Lock()
	listeners := m.listeners
	m.mu.Unlock()
	var addrs []string
	same := true
	for _, ln := range listeners {
		addrs = append(addrs, ln.Addr().String())
		same = same && addrs[0] == addrs[len(addrs)-1]
	}
	if same && len(addrs) > 0 {
		return addrs[0]
	}
	return strings.Join(addrs, ",")
}
