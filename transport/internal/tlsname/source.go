package tlsname

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// Source is where a transport has its configurations from.
type Source struct {
	TLS   *tls.Config                 // what the user has set, or
	Get   func() (*tls.Config, error) // what the user is asked for at every handshake
	Adapt func(c *tls.Config)         // makes of a copy what the transport needs
}

// config returns the user's present configuration, nil if there is none.
func (s Source) config() (*tls.Config, error) {
	if s.Get == nil {
		return s.TLS, nil
	}
	c, err := s.ask()
	if err == nil && c == nil {
		err = errors.New("it returned no configuration")
	}
	if err != nil {
		return nil, fmt.Errorf("Options.GetTLS: %w", err)
	}
	return c, nil
}

func (s Source) ask() (c *tls.Config, err error) {
	err = caught(func() (err error) {
		c, err = s.Get()
		return err
	})
	return c, err
}

// Client returns the configuration to dial with a peer whose certificate has to be
// valid for name. It is nil if the user has set none; what Get fails with is an
// error.
func (s Source) Client(name string) (*tls.Config, error) {
	c, err := s.config()
	if c == nil {
		return nil, err
	}
	c = s.adapted(c)
	if c.ServerName = name; name == "" && !c.InsecureSkipVerify {
		return nil, errors.New("there is no name to verify the certificate of the peer by: give the peer a Name")
	}
	return c, nil
}

// Server returns the configuration of a listener. It is nil if the user has set
// none, or one without a certificate for a listener.
func (s Source) Server() (*tls.Config, error) {
	first, err := s.config()
	if first == nil || len(first.Certificates) == 0 && first.GetCertificate == nil && first.GetConfigForClient == nil {
		return nil, err
	}
	c := s.adapted(first)
	if s.Get == nil && first.GetConfigForClient == nil {
		return c, nil
	}
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		now, err := s.config()
		if err != nil {
			return nil, err
		}
		if choose := now.GetConfigForClient; choose != nil {
			chosen, err := guarded(choose)(hello)
			if err != nil {
				return nil, err
			}
			if chosen != nil {
				return s.adapted(chosen), nil
			}
		}
		return s.adapted(now), nil
	}
	return c, nil
}

// adapted returns a copy of c as the transport uses it, in which no session is
// resumed, in either role: that would be one whose peer was verified when other
// authorities may have been trusted, and about which VerifyPeerCertificate is not
// asked.
func (s Source) adapted(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.SessionTicketsDisabled = true
	s.Adapt(c)
	guard(c)
	return c
}
