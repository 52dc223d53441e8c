// Package proxytest holds nodes behind a real proxy that ends TLS. The tests
// need nginx, and so the build tag external:
//
//	go test -tags external ./core/internal/proxytest
//
// The configuration of nginx is read from docs/nginx.md, so that the page is
// right. Without nginx the tests fail.
package proxytest
