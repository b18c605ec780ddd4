"""TLS for the local network, without which browsers do not let a page use the camera."""

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAYS = 2  # each session creates a new certificate
_FAR = "192.0.2.1"  # reserved for documentation


def lan_addresses() -> list[str]:
    """List the IPv4 addresses of this machine in its networks; nothing is sent to determine them."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((_FAR, 9))  # selects the interface; on a datagram socket it sends nothing
            address = str(probe.getsockname()[0])
    except OSError:  # without a network
        return []
    return [] if ipaddress.ip_address(address).is_loopback else [address]


def write_certificate(folder: Path, names: list[str]) -> tuple[Path, Path, str]:
    """Write a self-signed certificate for host names and addresses.

    Returns:
        The file of the certificate, that of its key, and the SHA-256 fingerprint for users to compare.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "physpatch session")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names if name.isascii()]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file, certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
