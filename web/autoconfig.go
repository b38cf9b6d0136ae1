package web

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// Service is one way to reach IMAP or submission.
type Service struct {
	Protocol string // "imap" or "smtp"
	Host     string // default Config.Host
	Port     uint16
	Socket   string // "SSL", "STARTTLS" or "plain"
}

func (s Service) check() error {
	switch {
	case s.Protocol != "imap" && s.Protocol != "smtp":
		return fmt.Errorf("no protocol %q", s.Protocol)
	case s.Socket != "SSL" && s.Socket != "STARTTLS" && s.Socket != "plain":
		return fmt.Errorf("no socket %q", s.Socket)
	case s.Port == 0:
		return fmt.Errorf("%s without a port", s.Protocol)
	}
	return nil
}

// security is Socket in the words of dclogin: links.
func (s Service) security() Security { return Security(strings.ToLower(s.Socket)) }

// DefaultServices are the services of a relay on the usual ports: TLS first,
// then STARTTLS, then port 443 for networks that let nothing else through.
// Clients store the whole list, so each way should be in it from the start.
func DefaultServices(host string) []Service {
	return []Service{
		{"imap", host, 993, "SSL"}, {"imap", host, 143, "STARTTLS"}, {"imap", host, 443, "SSL"},
		{"smtp", host, 465, "SSL"}, {"smtp", host, 587, "STARTTLS"}, {"smtp", host, 443, "SSL"},
	}
}

// clientConfig is the answer to mail programs, after Thunderbird's format 1.1:
// https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat
type clientConfig struct {
	XMLName  xml.Name `xml:"clientConfig"`
	Version  string   `xml:"version,attr"`
	Provider struct {
		ID        string           `xml:"id,attr"`
		Domain    string           `xml:"domain"`
		Name      string           `xml:"displayName"`
		ShortName string           `xml:"displayShortName"`
		Incoming  []providerServer `xml:"incomingServer"`
		Outgoing  []providerServer `xml:"outgoingServer"`
	} `xml:"emailProvider"`
}

type providerServer struct {
	Type           string `xml:"type,attr"`
	Host           string `xml:"hostname"`
	Port           uint16 `xml:"port"`
	Socket         string `xml:"socketType"`
	Authentication string `xml:"authentication"`
	Username       string `xml:"username"`
}

// autoconfig writes the document. It is the same for everybody: what a client
// says about itself in the query is not looked at.
func autoconfig(cfg Config) []byte {
	doc := clientConfig{Version: "1.1"}
	p := &doc.Provider
	p.ID, p.Domain, p.Name, p.ShortName = cfg.Domain, cfg.Domain, cfg.Domain+" chatmail", cfg.Domain
	for _, s := range cfg.Services {
		host := s.Host
		if host == "" {
			host = cfg.Host
		}
		server := providerServer{s.Protocol, host, s.Port, s.Socket, "password-cleartext", "%EMAILADDRESS%"}
		if s.Protocol == "imap" {
			p.Incoming = append(p.Incoming, server)
		} else {
			p.Outgoing = append(p.Outgoing, server)
		}
	}
	out, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("web: strings and numbers are always XML: " + err.Error())
	}
	return append([]byte(xml.Header), append(out, '\n')...)
}
