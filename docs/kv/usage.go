package main

import (
	"context"
	"sync"

	"github.com/gridmux/gridmux/core"
)

const (
	tenantKey  = "tenant" // of the metadata that goes with a call
	maxTenants = 1000
)

// WithTenant returns a context whose calls are made for a tenant.
func WithTenant(ctx context.Context, tenant string) context.Context {
	return core.WithMetadata(ctx, tenantKey, tenant)
}

// Usage counts the calls that a node has served by the tenant that they were made
// for. The zero value is ready.
type Usage struct {
	mu    sync.Mutex
	calls map[string]int
}

// Intercept is a core.Interceptor. It passes over the calls that the node makes,
// and those without a tenant, as between replicas: metadata does not go on by
// itself.
func (u *Usage) Intercept(ctx context.Context, info core.CallInfo, next func(context.Context) error) error {
	if tenant := core.MetadataFromContext(ctx, tenantKey); info.Incoming && tenant != "" {
		u.count(tenant)
	}
	return next(ctx)
}

func (u *Usage) count(tenant string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls == nil {
		u.calls = make(map[string]int)
	}
	if _, known := u.calls[tenant]; !known && len(u.calls) >= maxTenants {
		tenant = "others" // who makes names up must not fill the memory
	}
	u.calls[tenant]++
}

// Of returns how many calls were made for a tenant.
func (u *Usage) Of(tenant string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls[tenant]
}
