"""Fetch one file of a package from the package index, by its sha256, and run nothing of it.

    index_file.py --package NAME --file NAME --sha256 HEX --to DIR

pip asks a source archive's own setup.py for its name before it saves the archive, with the network and all credentials
at hand. This asks the index's simple API (JSON or HTML), as pip and uv are told of it: index and further ones, proxies,
certificates, netrc, timeout and retries come from their variables, else from pip's own settings. Credentials go to the
host they are for and to no other, whatever it redirects to. Standard library only, Python 3.8 and newer.
"""

import argparse
import ast
import base64
import hashlib
import html.parser
import http.client
import json
import netrc
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, */*;q=0.05"
# As pip: it waits, and tries again, after these.
AGAIN = (408, 413, 429, 500, 502, 503, 504, 520, 524, 527)
RETRIES, TIMEOUT, LONGEST_WAIT = 5, 30, 60
MOST_OF_A_PAGE = 64 << 20
BLOCK = 1 << 20
PORTS = {"http": 80, "https": 443}


class Misfit(Exception):
    """What keeps the file from being fetched, as one sentence."""


# --- what is configured --------------------------------------------------------------------------


def first(environment, *names):
    return next((environment[name] for name in names if environment.get(name)), "")


def indexes(environment):
    """Return the URLs of all configured indexes; uv's may begin with `name=`."""
    own = first(environment, "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL") or pips_own()
    more = [first(environment, name) for name in ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")]
    urls = [re.sub(r"^[\w.-]+=(?=\w+://)", "", url) for url in [own, *" ".join(more).split()]]
    return [url.rstrip("/") for url in dict.fromkeys(urls)]


def pips_own():
    """Return the index of pip's configuration files, or the one that pip asks without any."""
    # `pip config get` does not find what stands in PIP_CONFIG_FILE, `list` does.
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = dict(line.partition("=")[::2] for line in done.stdout.decode("utf-8", "replace").splitlines())
    named = said.get("download.index-url") or said.get("global.index-url")
    if named:
        return ast.literal_eval(named)
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        raise Misfit("no package index is configured, and no pip is here that knows one") from None
    return PyPI.simple_url


def trust(environment):
    """Return the TLS settings: pip's or OpenSSL's certificates, the system's, or at last those that pip brings."""
    context = ssl.create_default_context(cafile=first(environment, "PIP_CERT", "SSL_CERT_FILE") or None)
    if not context.get_ca_certs() and not context.cert_store_stats()["x509_ca"] and not os.environ.get("SSL_CERT_DIR"):
        try:
            from pip._vendor import certifi

            context.load_verify_locations(certifi.where())
        except (ImportError, OSError):
            pass
    return context


def proxies(environment):
    """Return what goes through which proxy; NO_PROXY is urllib's to read."""
    found = urllib.request.getproxies()
    everything = environment.get("PIP_PROXY") or found.pop("all", "")
    if everything:
        for scheme in PORTS:
            if environment.get("PIP_PROXY") or scheme not in found:
                found[scheme] = everything
    return found


# --- credentials ---------------------------------------------------------------------------------


def split(url):
    """Return the parts of a URL that can be asked."""
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.hostname and (parts.port or PORTS.get(parts.scheme))
    except ValueError:
        known = None
    if not known:
        raise Misfit("%s: no URL of http or https" % shown(url))
    return parts


def origin(url):
    """Return scheme, host and port: what credentials are for."""
    parts = split(url)
    return parts.scheme, parts.hostname.lower(), parts.port or PORTS.get(parts.scheme)


def without_user(url):
    parts = split(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def joined(base, target):
    """Return where a link of a page leads. Names may have blanks; what is quoted already stays so."""
    try:
        return urllib.parse.quote(urllib.parse.urljoin(base, target), safe="%/:=&?~#+!$,;'@()*[]")
    except ValueError:
        return ""


def shown(text):
    """Return a URL or a foreign text for a message: no credentials, no query, no control characters, not endless."""
    text = re.sub(r"//[^/?#\s]*@", "//", str(text))
    text = re.sub(r"[?#]\S*", "", text)
    return "".join(char if char.isprintable() else "?" for char in text)[:300]


class Keys:
    """Who signs in where: with what an index' URL has in it, or with what netrc has for the host."""

    def __init__(self, urls, path):
        self.own = {}
        for url in urls:
            parts = split(url)
            if parts.username is not None:
                pair = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
                self.own.setdefault(origin(url), pair)
        try:
            self.netrc = netrc.netrc(path).hosts if path else {}
        except netrc.NetrcParseError as error:
            raise Misfit("netrc: not understood near line %s" % error.lineno) from None

    def signed(self, url):
        """Return a request for a URL, with the credentials of its host, which follow no redirection."""
        request = urllib.request.Request(without_user(url), headers={"Accept": ACCEPT, "User-Agent": "drivebuild"})
        # What is asked for is a file as it is stored.
        request.add_header("Accept-Encoding", "identity")
        place = origin(url)
        entry = self.netrc.get(place[1])
        pair = self.own.get(place) or (entry and (entry[0], entry[2] or ""))
        if pair:
            word = base64.b64encode((":".join(pair)).encode()).decode()
            request.add_unredirected_header("Authorization", "Basic " + word)
        return request


def checked(url, before):
    """Return a URL that may be asked after `before`."""
    if split(url).scheme not in PORTS:
        raise Misfit("%s: no URL of http or https" % shown(url))
    if (split(url).scheme, split(before).scheme) == ("http", "https"):
        raise Misfit("%s leads from https to http: %s" % (shown(before), shown(url)))
    return url


class Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, keys):
        self.keys = keys

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not urllib.request.HTTPRedirectHandler.redirect_request(self, req, fp, code, msg, headers, newurl):
            return None
        # An index does not say who signs in elsewhere.
        new = self.keys.signed(without_user(checked(newurl, req.full_url)))
        new.origin_req_host, new.unverifiable = req.origin_req_host, True
        return new


# --- asking --------------------------------------------------------------------------------------


class Asker:
    """Asks, and waits and asks again as pip does."""

    def __init__(self, environment, urls):
        self.keys = Keys(urls, environment.get("NETRC", ""))
        handlers = [urllib.request.HTTPSHandler(context=trust(environment)), Redirects(self.keys)]
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies(environment)), *handlers)
        try:
            self.timeout = float(first(environment, "PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT") or TIMEOUT)
            self.retries = max(0, int(environment.get("PIP_RETRIES") or RETRIES))
        except ValueError as error:
            raise Misfit("a timeout or a number of retries is no number: %s" % error) from None

    def take(self, url, use):
        """Return what `use` makes of the answer; None where there is nothing at a URL."""
        for left in range(self.retries, -1, -1):
            pause = 0.25 * 2 ** (self.retries - left)
            try:
                with self.opener.open(self.keys.signed(url), timeout=self.timeout) as answer:
                    return use(answer)
            except urllib.error.HTTPError as error:
                if error.code in (404, 410):
                    return None
                pause = self.refused(error, left, pause)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                if isinstance(reason, ssl.SSLCertVerificationError):
                    raise Misfit("%s: certificate verify failed: %s" % (shown(url), reason.verify_message)) from None
                if not left:
                    raise Misfit("%s: %s" % (shown(url), shown(reason) or type(reason).__name__)) from None
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def refused(self, error, left, pause):
        """Return how long to wait before the next try."""
        if error.code in (401, 403):
            said = "are there credentials for it in netrc, or in the index' URL?"
            raise Misfit("%s: refused with %d: %s" % (shown(error.url), error.code, said)) from None
        after = error.headers.get("Retry-After", "")
        wait = int(after) if after.isdigit() and len(after) < 9 else pause
        if error.code not in AGAIN or not left or wait > LONGEST_WAIT:
            asked = ", and asks to wait for %d s" % wait if wait > LONGEST_WAIT else ""
            raise Misfit("%s: answered with %d%s" % (shown(error.url), error.code, asked)) from None
        return wait


def page_of(answer):
    """Return where a page was in the end, its type and its bytes."""
    body = answer.read(MOST_OF_A_PAGE + 1)
    if len(body) > MOST_OF_A_PAGE:
        raise Misfit("%s: a page of more than %d MiB" % (shown(answer.geturl()), MOST_OF_A_PAGE >> 20))
    if answer.length:
        raise OSError("the page ended before its end")
    return answer.geturl(), answer.headers.get("Content-Type", ""), body


# --- what an index says --------------------------------------------------------------------------


class Links(html.parser.HTMLParser):
    """The links of a page, and what they are relative to."""

    def __init__(self):
        html.parser.HTMLParser.__init__(self)
        self.base, self.found = "", []

    def handle_starttag(self, tag, attrs):
        target = dict(attrs).get("href")
        if target and tag == "base" and not self.base:
            self.base = target
        elif target and tag == "a":
            self.found.append(target)


def files_of(url, kind, body):
    """Return (name, URL, sha256 or '') of each file on a page of an index."""
    text = body.decode("utf-8", "replace")
    if "json" not in kind and not text.lstrip().startswith("{"):
        links = Links()
        links.feed(text)
        base = joined(url, links.base)
        return [file_of(joined(base, target)) for target in links.found]
    try:
        entries = [(entry["filename"], entry["url"], entry.get("hashes", {})) for entry in json.loads(text)["files"]]
        return [(name, joined(url, target), hashes.get("sha256", "").lower()) for name, target, hashes in entries]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Misfit("%s: no page of a package index" % shown(url)) from None


def file_of(url):
    url, _, fragment = url.partition("#")
    digest = re.search(r"(?:^|&)sha256=([0-9a-fA-F]{64})(?:&|$)", fragment)
    name = urllib.parse.unquote(url.partition("?")[0].rpartition("/")[2])
    return name, url, digest.group(1).lower() if digest else ""


def chosen(files, name, sha256):
    """Return the URL of the file with the sha256, or of the one of that name whose sha256 the index does not say."""
    named = [(url, digest) for other, url, digest in files if other == name]
    for _, url, digest in files:
        if digest == sha256:
            return url
    for url, digest in named:
        if not digest:
            return url
    if named:
        raise Misfit("another file of that name, with sha256 %s" % shown(named[0][1]))
    raise Misfit("%d files of the package, and none with that name or sha256" % len(files))


def found(asker, index, package, name, sha256):
    """Return the URL of the file at one index."""
    page = "%s/%s/" % (index, re.sub(r"[-_.]+", "-", package).lower())
    checked(page, page)
    answer = asker.take(page, page_of)
    if answer is None:
        raise Misfit("no package %s" % package)
    url = chosen(files_of(*answer), name, sha256)
    return checked(url, answer[0])


# --- the file ------------------------------------------------------------------------------------


def save(answer, path):
    """Write an answer to a file, from its beginning; return its sha256."""
    digest, size = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for block in iter(lambda: answer.read(BLOCK), b""):
            digest.update(block)
            size += len(block)
            file.write(block)
    # Read in blocks, a body that is cut short is no error to http.client.
    if answer.length:
        raise OSError("ended after %d bytes, with %d to come" % (size, answer.length))
    return digest.hexdigest()


def located(asker, urls, package, name, sha256):
    """Return the URL of the file at the first index that has it."""
    said = []
    for index in urls:
        try:
            return found(asker, index, package, name, sha256)
        except Misfit as error:
            said.append("%s: %s" % (split(index).hostname, error))
    raise Misfit("not found with sha256 %s: %s" % (sha256, "; ".join(said)))


def fetch(asker, url, name, sha256, folder):
    """Put the file at a URL into a folder, under its name."""
    part = os.path.join(folder, ".part")
    try:
        digest = asker.take(url, lambda answer: save(answer, part))
        if digest is None:
            raise Misfit("%s: not there, though the index names it" % shown(url))
        if digest != sha256:
            raise Misfit("%s: what was sent has sha256 %s, locked is %s" % (shown(url), digest, sha256))
        os.replace(part, os.path.join(folder, name))
    finally:
        if os.path.exists(part):
            os.unlink(part)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--package", "--file", "--sha256", "--to"):
        parser.add_argument(option, required=True)
    arguments = parser.parse_args()
    name = arguments.file
    if os.path.basename(name) != name or name in ("", ".", ".."):
        parser.error("--file is the name of one file")
    try:
        urls, sha256 = indexes(os.environ), arguments.sha256.lower()
        asker = Asker(os.environ, urls)
        os.makedirs(arguments.to, exist_ok=True)
        fetch(asker, located(asker, urls, arguments.package, name, sha256), name, sha256, arguments.to)
    except (Misfit, OSError) as error:
        sys.exit("index_file: %s: %s" % (name, error if isinstance(error, Misfit) else shown(error)))
    print("%s: fetched, with its sha256" % name)


if __name__ == "__main__":
    main()
