package sim_test

import (
	"crypto/ed25519"
	"crypto/sha256"

	"github.com/gridmux/gridmux/core"
)

// clusterName is what all nodes of a run belong to.
const clusterName = "sim"

// authKind is how nodes prove to each other who they are.
type authKind int

const (
	authNone authKind = iota
	authShared
	authNodeKeys
)

// numAuthKinds is how many are drawn from. Those beyond the last stand for
// authShared, which costs less than keys.
const numAuthKinds = 8

func (k authKind) String() string {
	switch k {
	case authNone:
		return "none"
	case authNodeKeys:
		return "node keys"
	default:
		return "shared key"
	}
}

// authOf returns the Authenticator of a node, nil for none.
func (p *profile) authOf(name string) core.Authenticator {
	switch p.auth {
	case authNone:
		return nil
	case authNodeKeys:
		return core.NodeKeys(privateKey(name), func(name string) (ed25519.PublicKey, bool) {
			key, ok := privateKey(name).Public().(ed25519.PublicKey)
			return key, ok
		})
	default:
		return core.SharedKey([]byte("the shared key of a simulation"))
	}
}

func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}
