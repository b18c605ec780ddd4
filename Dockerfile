# physpatch on the CPU. The default command runs the demo and leaves it in /work:
#   docker build -t physpatch .
#   mkdir -p out && docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/out:/work" physpatch
FROM python:3.11-slim

# What OpenCV links to, in the version of the base image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# Dependencies first: they change less often than the code, and are the larger part.
WORKDIR /opt/physpatch
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN python -c "import pathlib, tomllib; \
      project = tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']; \
      pathlib.Path('requirements.txt').write_text('\n'.join(project['dependencies']))" \
    && pip install --constraint constraints.txt --requirement requirements.txt

COPY calibration calibration
COPY captures captures
COPY physpatch physpatch
COPY printouts printouts
COPY cli.py ./
RUN pip install --no-deps .

# Not root; the home may be written by any user id given with --user, for caches and settings.
RUN useradd --create-home --uid 1000 physpatch \
    && mkdir --parents /work /home/physpatch/.config \
    && chown physpatch /work \
    && chmod --recursive a+rwX /home/physpatch /work
ENV HOME=/home/physpatch
USER 1000
WORKDIR /work

ENTRYPOINT ["physpatch"]
CMD ["demo"]
