package metrics

import (
	"net/http/httptest"
	"testing"
)

func TestTwoRegistriesCountApart(t *testing.T) {
	a, b := New(), New()
	a.Counter("delivered_mail", "Messages saved.").Inc()
	b.Counter("delivered_mail", "Messages saved.").Add(2)
	a.Counter("delivered_mail", "Messages saved.").Inc()
	va, err := a.Values()
	if err != nil {
		t.Fatal(err)
	}
	vb, _ := b.Values()
	if va["delivered_mail"] != 2 || vb["delivered_mail"] != 2 {
		t.Fatalf("a %v, b %v", va["delivered_mail"], vb["delivered_mail"])
	}
}

func TestLimitsAreListed(t *testing.T) {
	r := New()
	r.Limit(Limit{Name: "connections", Help: "open", Max: 7, Use: func() int64 { return 3 }})
	if l := r.Limits(); len(l) != 1 || l[0].Use() != 3 {
		t.Fatalf("%+v", l)
	}
	v, _ := r.Values()
	if v["connections_use"] != 3 || v["connections_limit"] != 7 {
		t.Fatalf("%v", v)
	}
}

func TestNilRegistryCountsForNobody(t *testing.T) {
	var r *Registry
	r.Counter("x", "").Inc()
	r.Limit(Limit{Name: "x"})
	if v, err := r.Values(); v != nil || err != nil {
		t.Fatal(v, err)
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 404 {
		t.Fatal(w.Code)
	}
}
